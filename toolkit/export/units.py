"""Write the units of a bundle: each exported once, then put into the further precisions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from jetson.bundle import Bundle
from jetson.files import sha256_file, storage, write_file
from jetson.log import get_logger, timed
from jetson.manifest import Precision, Unit, Variant

if TYPE_CHECKING:
    from toolkit.export.cut import UnitPlan

logger = get_logger(__name__)
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
    kept = {u.source: u for u in old.manifest.filed} if old is not None else {}
    done = begin("export", len(plans))
    units: list[Unit] = []
    reused: list[str] = []
    for plan in plans:
        if plan.fused is not None:
            units.append(_inside(plan, units))
            reused += [plan.name] if plan.fused in reused else []
            done()
            continue
        before = kept.get(plan.source)
        if before is not None and old is not None:
            unit = _take_over(plan, before, old, folder)
            reused.append(plan.name)
            logger.info("unit %s has not changed: kept", plan.name)
        else:
            with timed(logger, "exported unit %s", plan.name):
                unit = _export(plan, folder)
        variants = tuple(_variant(unit, p, before, old, folder) for p in precisions if p != unit.precision)
        units.append(msgspec.structs.replace(unit, variants=variants))
        done()
    return units, tuple(reused)


def without(units: Sequence[Unit], precision: Precision, folder: Path) -> tuple[Unit, ...]:
    """The units without one of their precisions; its files are removed from the folder."""
    found = []
    for unit in units:
        if unit.fused is None:
            with storage(folder):
                (folder / unit.at(precision).file).unlink()
        variants = tuple(v for v in unit.variants if v.precision != precision)
        found.append(msgspec.structs.replace(unit, variants=variants))
    return tuple(found)


def followed(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """The units, with fused branches in the files that their segments have now."""
    segments = {u.name: u for u in units}
    return tuple(u if u.fused is None else _in_files_of(u, segments[u.fused]) for u in units)


def _in_files_of(branch: Unit, segment: Unit) -> Unit:
    return msgspec.structs.replace(
        branch,
        file=segment.file,
        sha256=segment.sha256,
        size_bytes=segment.size_bytes,
        precision=segment.precision,
        variants=segment.variants,
        dynamic_batch=segment.dynamic_batch,
    )


def _export(plan: UnitPlan, folder: Path) -> Unit:
    from toolkit.export.onnx import export_module

    file = folder / UNITS / f"{plan.name}.onnx"
    further = [b.output.name for b in plan.further]
    ends = (plan.input.name, plan.output.name)
    exported = export_module(plan.graph, plan.example, plan.name, *ends, further=further)
    write_file(file, exported.content)
    return _describe(plan, file, exported.dynamic_batch)


def _inside(plan: UnitPlan, units: Sequence[Unit]) -> Unit:
    """A fused branch, in the files of its segment."""
    segment = next(u for u in units if u.name == plan.fused)
    found = _unit(plan, file="", sha256="", size_bytes=0, dynamic_batch=False)
    return _in_files_of(found, segment)


def _take_over(plan: UnitPlan, before: Unit, old: Bundle, folder: Path) -> Unit:
    file = folder / UNITS / f"{plan.name}.onnx"
    _copy(old.file(before), file)
    return _describe(plan, file, before.dynamic_batch)


def _describe(plan: UnitPlan, file: Path, dynamic_batch: bool) -> Unit:
    return _unit(
        plan,
        file=f"{UNITS}/{file.name}",
        sha256=sha256_file(file),
        size_bytes=file.stat().st_size,
        dynamic_batch=dynamic_batch,
    )


def _unit(plan: UnitPlan, **stored: Any) -> Unit:
    from toolkit.models.count import flops, parameters

    return Unit(
        name=plan.name,
        kind=plan.kind,
        layer=plan.layer,
        input=plan.input,
        output=plan.output,
        parameters=parameters(plan.module),
        flops=flops(plan.module, plan.example),
        source=plan.source,
        fused=plan.fused,
        **stored,
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
