"""Write the units of a bundle: each exported once, then put into the further precisions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jetson.bundle import Bundle
from jetson.files import sha256_file, storage, write_file
from jetson.manifest import Precision, Unit, Variant

if TYPE_CHECKING:
    from toolkit.export.cut import UnitPlan

UNITS = "units"
"""The bundle's folder of ONNX files."""
Step = Callable[[str, int], Callable[[], None]]
"""Told what begins and in how many parts; gives back what is called after each part."""


def write_units(
    plans: Sequence[UnitPlan], old: Bundle | None, folder: Path, precisions: Sequence[Precision], begin: Step
) -> tuple[list[Unit], tuple[str, ...]]:
    """Export each unit, or take it over from the old bundle when nothing that shapes it has changed.

    Args:
        plans: the units to be.
        old: the bundle that stands, if there is one.
        folder: of the new bundle.
        precisions: to have beside fp32.
        begin: told of the progress.

    Returns:
        The units, and the names of those whose export was taken over.
    """
    kept = {u.source: u for u in old.manifest.units} if old is not None else {}
    done = begin("export", len(plans))
    units: list[Unit] = []
    reused: list[str] = []
    for plan in plans:
        before = kept.get(plan.source)
        if before is not None and old is not None:
            unit = _take_over(plan, before, old, folder)
            reused.append(plan.name)
        else:
            unit = _export(plan, folder)
        variants = tuple(_variant(unit, p, before, old, folder) for p in precisions if p != unit.precision)
        units.append(msgspec.structs.replace(unit, variants=variants))
        done()
    return units, tuple(reused)


def without(units: Sequence[Unit], precision: Precision, folder: Path) -> tuple[Unit, ...]:
    """The units without one of their precisions; its files are removed from the folder."""
    found = []
    for unit in units:
        with storage(folder):
            (folder / unit.at(precision).file).unlink()
        variants = tuple(v for v in unit.variants if v.precision != precision)
        found.append(msgspec.structs.replace(unit, variants=variants))
    return tuple(found)


def _export(plan: UnitPlan, folder: Path) -> Unit:
    from toolkit.export.onnx import export_module

    file = folder / UNITS / f"{plan.name}.onnx"
    exported = export_module(plan.module, plan.example, plan.name, plan.input.name, plan.output.name)
    write_file(file, exported.content)
    return _describe(plan, file, exported.dynamic_batch)


def _take_over(plan: UnitPlan, before: Unit, old: Bundle, folder: Path) -> Unit:
    file = folder / UNITS / f"{plan.name}.onnx"
    _copy(old.file(before), file)
    return _describe(plan, file, before.dynamic_batch)


def _describe(plan: UnitPlan, file: Path, dynamic_batch: bool) -> Unit:
    from toolkit.models.count import flops, parameters

    return Unit(
        name=plan.name,
        kind=plan.kind,
        layer=plan.layer,
        file=f"{UNITS}/{file.name}",
        sha256=sha256_file(file),
        size_bytes=file.stat().st_size,
        input=plan.input,
        output=plan.output,
        parameters=parameters(plan.module),
        flops=flops(plan.module, plan.example),
        source=plan.source,
        dynamic_batch=dynamic_batch,
    )


def _variant(unit: Unit, precision: Precision, before: Unit | None, old: Bundle | None, folder: Path) -> Variant:
    """The unit in half precision: taken over with its unit, else converted."""
    from toolkit.export.half import to_half

    file = folder / UNITS / f"{unit.name}.{precision}.onnx"
    if before is not None and old is not None and precision in [v.precision for v in before.variants]:
        _copy(old.file(before, precision), file)
    else:
        with storage(folder, "read"):
            content = (folder / unit.file).read_bytes()
        write_file(file, to_half(content, unit.name))
    return describe_variant(file, precision)


def describe_variant(file: Path, precision: Precision) -> Variant:
    """The record of a file in the bundle's folder of units."""
    return Variant(
        precision=precision, file=f"{UNITS}/{file.name}", sha256=sha256_file(file), size_bytes=file.stat().st_size
    )


def _copy(source: Path, target: Path) -> None:
    with storage(target):
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)
