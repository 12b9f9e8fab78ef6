"""What each precision costs and saves: sizes, plans, and the quality of every exit in it."""

from __future__ import annotations

from dataclasses import replace

from jetson.bundle import Bundle
from jetson.engines import NAMES, default_precisions
from jetson.errors import BundleError
from jetson.manifest import Exit, Manifest, Precision, Quality, Unit
from toolkit.report.facts import Fact
from toolkit.report.formats import NA, change, fixed, metric_name, quality, quantity, share, short
from toolkit.report.gather import Run
from toolkit.report.tables import Cell, Table


def sizes_table(run: Run) -> Table | None:
    """Every unit's size in each precision and what engines run it in; None where there is one precision only."""
    manifest = run.manifest
    offered = manifest.offered
    if len(offered) < 2:
        return None
    bundle = Bundle(run.bundle_path, manifest)
    engines = {name: default_precisions(bundle, name) for name in dict.fromkeys((*NAMES, *manifest.plans))}
    kept = {k.unit for k in manifest.quantisation.kept} if manifest.quantisation else set()
    header = (
        Cell("Unit", numeric=False),
        *(Cell(p, "size", of=f"precision-{p}") for p in offered),
        *(Cell(name, "plan" if name in manifest.plans else "default", numeric=False) for name in engines),
        *(Cell("Profile", m.label if len(run.profiles) > 1 else "measured in", numeric=False) for m in run.profiles),
    )
    rows = [
        (
            Cell(unit.name, numeric=False),
            *(replace(_size(unit, p, kept), of=f"precision-{p}") for p in offered),
            *(Cell(chosen[i], numeric=False) for chosen in engines.values()),
            *(Cell(m.profile.units[unit.name].precision, numeric=False) for m in run.profiles),
        )
        for i, unit in enumerate(manifest.units)
    ]
    measured = [[m.profile.units[u.name].precision for u in manifest.units] for m in run.profiles]
    together = [*([_nearest(manifest, p) for p in offered]), *engines.values(), *measured]
    groups = [*(f"precision-{p}" for p in offered), *[""] * (len(together) - len(offered))]
    sums = (Cell(_sum(manifest, p), numeric=bool(of), of=of) for p, of in zip(together, groups, strict=True))
    caption = (
        "Size: of the unit's file. After it what a unit runs in when nobody says, by the bundle's plan for an engine "
        "or, without one, by default; and what the profile was measured in. Together: all files that run so, and "
        "under a precision all that run when it is asked of every unit, each in the next best where it lacks it."
    )
    return Table(caption, header, (*rows, (Cell("together", numeric=False), *sums)))


def _size(unit: Unit, precision: Precision, kept: set[str]) -> Cell:
    if unit.fused is not None:
        return Cell("fused", f"into {unit.fused}")
    found = next((v for v in unit.files if v.precision == precision), None)
    if found is None:
        return Cell(NA, "kept out" if unit.name in kept and precision.startswith("int8") else "")
    return Cell(quantity(found.size_bytes, "B"))


def _nearest(manifest: Manifest, precision: Precision) -> tuple[Precision, ...] | None:
    try:
        return manifest.nearest(precision)
    except BundleError:
        return None


def _sum(manifest: Manifest, precisions: tuple[Precision, ...] | list[Precision] | None) -> str:
    if precisions is None:
        return NA
    files = (u.at(p) for u, p in zip(manifest.units, precisions, strict=True) if u.fused is None)
    return quantity(sum(file.size_bytes for file in files), "B")


def kept_table(run: Run) -> Table | None:
    """The units that the gate kept out of int8; None where there are none."""
    record = run.manifest.quantisation
    if record is None or not record.kept:
        return None
    header = tuple(Cell(name, numeric=False) for name in ("Unit", "Runs in", "Why it is not in int8"))
    rows = tuple(tuple(Cell(t, numeric=False) for t in (k.unit, k.precision, k.reason)) for k in record.kept)
    return Table("", header, rows)


def ranges(run: Run) -> list[Fact]:
    """How int8 came to be; empty where it is not there."""
    record = run.manifest.quantisation
    if record is None:
        return []
    classify = run.manifest.task == "classification"
    lost = (
        f"{fixed(100 * record.max_drop, 1)} points of accuracy"
        if classify
        else f"{share(record.max_drop)} of its error"
    )
    return [
        Fact("Ranges by", record.method),
        Fact("Taken from", f"{record.frames:,} frames of {record.data}"),
        Fact("SHA-256", short(record.sha256), full=record.sha256),
        Fact("Gate", f"no exit may lose more than {lost}"),
    ]


def quality_table(run: Run) -> Table | None:
    """Every exit's quality in each precision that was judged; None where only the units' own was."""
    exits = run.manifest.exits
    precisions = list(dict.fromkeys(p for e in exits for p in e.variant_quality))
    if not precisions:
        return None
    judged = {q.split for e in exits for found in e.variant_quality.values() for q in found}
    splits = [s for s in dict.fromkeys(q.split for e in exits for q in e.quality) if s in judged]
    own = run.manifest.units[0].precision
    header = (
        Cell("Exit", numeric=False),
        *(Cell(p, f"{split} split", of=f"precision-{p}") for split in splits for p in (own, *precisions)),
    )
    rows = tuple(
        (
            Cell(e.name, style=run.styles[e.name], numeric=False),
            *(
                replace(c, of=f"precision-{p}")
                for split in splits
                for c, p in zip(_qualities(e, split, precisions), (own, *precisions), strict=True)
            ),
        )
        for e in exits
    )
    metric = exits[0].quality[0].metric
    unit = "points" if metric == "accuracy" else "percent of that error; with a minus it is smaller"
    caption = f"{metric_name(metric).capitalize()} of every exit, and below it the difference to {own} in {unit}."
    return Table(caption, header, rows)


def _qualities(exit_: Exit, split: str, precisions: list[Precision]) -> tuple[Cell, ...]:
    own = _on(exit_.quality, split)
    if own is None:
        return (Cell(NA),) * (1 + len(precisions))
    others = [_on(exit_.variant_quality.get(p, ()), split) for p in precisions]
    return (
        Cell(quality(own.value, own.metric), f"n {own.n:,}"),
        *(Cell(quality(q.value, q.metric), change(own.value, q.value, q.metric)) if q else Cell(NA) for q in others),
    )


def _on(judged: tuple[Quality, ...], split: str) -> Quality | None:
    return next((q for q in judged if q.split == split), None)
