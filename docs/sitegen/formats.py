"""What is kept on disk or printed for machines: each record with its fields, from the classes behind it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jetson.engines.tensorrt.records import Fingerprint
from jetson.lines import Frame, Last
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.trace import FrameBudget
from sitegen.text import code, plain, table

FORMATS: dict[str, tuple[type, ...]] = {
    "manifest": (Manifest,),
    "profile": (LatencyProfile,),
    "engine": (Fingerprint,),
    "trace": (FrameBudget,),
    "lines": (Frame, Last),
}
JSON = tuple(name for name in FORMATS if name != "trace")


class Field(NamedTuple):
    """One field of a record, as its source says it."""

    name: str
    annotation: str
    """With the default, if there is one."""
    meaning: str


def part(name: str) -> Callable[[Path], str]:
    """What makes the part of a page about one format."""
    return lambda _root: reference(name)


def reference(name: str) -> str:
    """The tables of a format's records, outermost first, and where its JSON Schema lies."""
    file = f"{name}.schema.json"
    lines = [f'JSON Schema: <a href="schemas/{file}" download>{file}</a>', ""] if name in JSON else []
    for record in _records(FORMATS[name]):
        rows = [(code(f.name), code(f.annotation), plain(f.meaning)) for f in _fields(record)]
        lines += [f"### {record.__name__}", "", plain(_summary(record)), ""]
        lines += [table(["field", "type, and what it is when left out", "meaning"], rows), ""]
    return "\n".join(lines)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a format; where there are lines of several kinds, of any of them."""
    kinds, parts = msgspec.json.schema_components(FORMATS[name])
    return {**(kinds[0] if len(kinds) == 1 else {"anyOf": kinds}), "$defs": parts}


def _records(roots: tuple[type, ...]) -> list[type]:
    """The records that these are made of, each once, in the order in which they are met."""
    found: dict[type, None] = {}

    def walk(kind: Any) -> None:
        if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
            if kind not in found:
                found[kind] = None
                for inner in typing.get_type_hints(kind).values():
                    walk(inner)
        else:
            for inner in typing.get_args(kind):
                walk(inner)

    for root in roots:
        walk(root)
    return list(found)


def _summary(record: type) -> str:
    return (inspect.getdoc(record) or "").replace("\n\n", " ")


def _fields(record: type) -> Iterator[Field]:
    """The fields that a class and those it is made from name, with the text below each."""
    struct = issubclass(record, msgspec.Struct)
    written = {f.name: f.encode_name for f in msgspec.structs.fields(record)} if struct else {}
    for kind in reversed(record.__mro__):
        if kind.__module__.partition(".")[0] not in ("jetson", "calibration", "toolkit"):
            continue
        body = _classes(kind.__module__)[kind.__qualname__].body
        for here, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
                name, known = written.get(here.target.id, here.target.id), vars(sys.modules[kind.__module__])
                shown = [here.annotation]
                if here.value is not None and name == here.target.id:  # else the value says how the name is written
                    shown.append(here.value)
                yield Field(name, " = ".join(ast.unparse(_Spelt(known).visit(part)) for part in shown), _text(after))


class _Spelt(ast.NodeTransformer):
    """Puts the words of a choice, and a constant number, in the place of their names."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self.known.get(node.id)
        if isinstance(value, int | str):
            return ast.Constant(value)
        if typing.get_origin(value) is typing.Literal:
            return ast.parse(f"Literal{list(typing.get_args(value))}", mode="eval").body
        return node


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
