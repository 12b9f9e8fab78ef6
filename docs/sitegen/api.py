"""The device's Python API, from its docstrings, and the tree of errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from jetson import errors as tree
from sitegen.text import code, plain, table

SECTIONS: dict[str, tuple[str, ...]] = {
    "Runtime": ("autoclass:: jetson.runtime.Runtime",),
    "Budget": ("autoclass:: jetson.scheduling.budget.Budget",),
    "Answer": ("autoclass:: jetson.answer.Answer", "autoclass:: jetson.answer.UnitRun"),
    "Bundle": ("autoclass:: jetson.bundle.Bundle",),
    "LatencyProfile": (
        "autoclass:: jetson.profiling.profile.LatencyProfile",
        "autoclass:: jetson.profiling.profile.Sketch",
        "autofunction:: jetson.profiling.measure.measure",
    ),
    "Frames": (
        "autofunction:: jetson.frames.open",
        "autoclass:: jetson.frames.frame.Frame",
        "autoclass:: jetson.frames.stream.Stream",
    ),
    "Explanation": ("autoclass:: jetson.scheduling.explain.Explanation",),
    "Budget traces": (
        "autoclass:: jetson.scheduling.trace.FrameBudget",
        "autofunction:: jetson.scheduling.trace.load_trace",
        "autofunction:: jetson.scheduling.trace.save_trace",
        "autofunction:: jetson.scheduling.trace.swing",
    ),
}


def reference() -> str:
    """A section for each thing a program on the device deals with."""
    parts = []
    for heading, directives in SECTIONS.items():
        lines = [f"## {heading}", "", "```{eval-rst}"]
        for directive in directives:
            lines += [f".. {directive}", *([] if "function" in directive else ["   :members:"]), ""]
        parts.append("\n".join([*lines, "```", ""]))
    return "\n".join(parts)


def errors() -> str:
    """A row for each error that Offramp raises on purpose, indented below what it is one of."""
    rows = []
    for depth, kind in _walk(tree.OfframpError, 0):
        also = [base.__name__ for base in kind.__bases__ if not issubclass(base, tree.OfframpError)]
        name = "· " * depth + code(kind.__name__)
        also_code = ", ".join(code(base) for base in also if base != "Exception")
        rows.append((name, code(str(kind.exit_code)), also_code, plain(inspect.getdoc(kind) or "")))
    return table(["in `jetson.errors`", "exit code", "also a", "what it says"], rows)


def _walk(kind: type[tree.OfframpError], depth: int) -> Iterator[tuple[int, type[tree.OfframpError]]]:
    yield depth, kind
    for below in kind.__subclasses__():
        yield from _walk(below, depth + 1)
