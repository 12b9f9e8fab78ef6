"""The short facts of the page: headline, key figures, the summary of the frames, and provenance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from jetson.profiling.profile import Conditions
from toolkit.report.formats import (
    NA,
    NOT_MEASURED,
    is_number,
    metric_name,
    milliseconds,
    moment,
    quality,
    quantity,
    share,
    short,
    significant,
)
from toolkit.report.gather import Run

SUMMARY_SHOWN = ("frames", "acc_at_d", "miss_rate", "infeasible_share", "late", "mean_compute_ms", "exits")


@dataclass(frozen=True)
class Fact:
    """A figure or a text with its name; `note` says what it means, `full` is the whole of a text that was cut."""

    name: str
    value: str
    note: str = ""
    full: str = ""


def title(run: Run) -> str:
    """What the model is, in one line."""
    manifest = run.manifest
    tokens = manifest.segments[-1].output.shape
    depth = manifest.segments[-1].layer
    width = f", width {tokens[-1]}" if len(tokens) == 3 else ""
    exits = len(manifest.exits)
    return f"Vision Transformer, {depth} layers{width}, {exits} exit{'s' if exits != 1 else ''}"


def headline(run: Run) -> list[Fact]:
    """Task, checkpoint, device, engine and dates."""
    manifest, profile = run.manifest, run.profile
    checkpoint = manifest.provenance.checkpoint
    name = PurePath(checkpoint).name or checkpoint
    task: str = manifest.task
    if manifest.classes:
        task += f", {len(manifest.classes)} classes"
    elif manifest.task == "regression":
        task += f", {manifest.outputs} output{'s' if manifest.outputs != 1 else ''}"
    data = manifest.provenance.data
    facts = [
        Fact("Task", task + (f" ({data.name})" if data else "")),
        Fact("Checkpoint", short(name, 40), full=checkpoint),
        Fact("Device", run.device_line),
        Fact("Engine", run.engine_line),
        Fact("Bundle built", moment(manifest.provenance.created)),
        Fact("Profile measured", moment(profile.created)),
    ]
    return [f for f in facts if f.value]


def key_figures(run: Run) -> list[Fact]:
    """The row of figures at the top of the page."""
    exits = run.manifest.exits
    first, last = exits[0], exits[-1]
    metric = run.shown_quality(last).metric
    times = [run.exit_latency(e).end_to_end_ms.median for e in (first, last)]
    deepest = run.path_units(last)
    facts = [
        Fact(
            f"{metric_name(metric).capitalize()}, deepest exit",
            quality(run.shown_quality(last).value, metric),
            f"{last.name}, {run.shown_split} split",
        ),
        Fact("Median latency, deepest exit", milliseconds(times[1]), "host array in, host answer out"),
    ]
    if len(exits) > 1:
        facts += [
            Fact(
                f"{metric_name(metric).capitalize()}, shallowest exit",
                quality(run.shown_quality(first).value, metric),
                f"{first.name}, {run.shown_split} split",
            ),
            Fact(
                "Median latency, shallowest exit",
                milliseconds(times[0]),
                f"{significant(times[1] / times[0])}× faster than the deepest" if 0 < times[0] < times[1] else "",
            ),
        ]
    flops = sum(u.flops for u in deepest)
    facts.append(
        Fact(
            "Parameters to the deepest exit",
            quantity(sum(u.parameters for u in deepest)),
            f"{quantity(flops, 'FLOPs')} a frame",
        )
    )
    summary = (run.frames.summary if run.frames else None) or {}
    if summary:
        facts.append(Fact("acc@D", share(summary.get("acc_at_d")), "in time and correct"))
        facts.append(Fact("Miss rate", share(summary.get("miss_rate")), "of the feasible budgets"))
    return facts


def frame_figures(run: Run) -> list[Fact]:
    """The summary of the frames; what the log does not tell reads n/a."""
    log = run.frames
    if log is None:
        return []
    summary: dict[str, Any] = log.summary or {}
    late = sum(f.late for f in log.frames)
    return [
        Fact("Frames", f"{len(log.frames):,}"),
        Fact("acc@D", share(summary.get("acc_at_d")), "delivered within the budget and correct"),
        Fact("Miss rate", share(summary.get("miss_rate")), "late, of the budgets the shallowest exit can meet"),
        Fact("Infeasible", share(summary.get("infeasible_share")), "budgets the shallowest exit cannot meet"),
        Fact("Late", f"{late:,}", "answers after their budget, infeasible ones included"),
        Fact("Mean compute", milliseconds(summary.get("mean_compute_ms")), "per frame"),
    ]


def frame_extras(run: Run) -> list[Fact]:
    """Figures of the summary that this version has no place for, under the names they came with."""
    summary = (run.frames.summary if run.frames else None) or {}
    return [
        Fact(key.replace("_", " "), significant(value, 4) if is_number(value) else str(value))
        for key, value in summary.items()
        if key not in SUMMARY_SHOWN and isinstance(value, str | int | float)
    ]


def provenance(run: Run) -> list[tuple[str, list[Fact]]]:
    """Named groups of facts: where the bundle comes from, what it was measured on, and under which conditions."""
    manifest, profile = run.manifest, run.profile
    origin, device, identity = manifest.provenance, profile.device, manifest.identity
    bundle = [
        Fact("Identity", short(identity, 16), full=identity),
        Fact("Build", short(manifest.build, 16), full=manifest.build),
        Fact("Created", moment(origin.created)),
        Fact("Command", origin.command),
        Fact("Checkpoint", short(origin.checkpoint, 60), full=origin.checkpoint),
        Fact("Versions", ", ".join(f"{name} {version}" for name, version in origin.versions.items())),
    ]
    machine = [
        Fact("Machine", device.machine),
        Fact("Processor", f"{device.processor}, {device.cores} core{'s' if device.cores != 1 else ''}"),
        Fact("Board", device.board or NA),
        Fact("JetPack", device.jetpack or NA),
        Fact("GPU", device.gpu or NA),
        Fact("Power mode", device.power_mode or NA),
        Fact("Engine", run.engine_line),
        Fact("Measured", f"{moment(profile.created)}, {profile.frames:,} frames"),
    ]
    return [
        ("Bundle", bundle),
        ("Device", machine),
        ("Conditions at the start", _conditions(profile.start)),
        ("Conditions at the end", _conditions(profile.end)),
    ]


def _conditions(moment: Conditions) -> list[Fact]:
    def told(value: float | None, unit: str) -> str:
        return NOT_MEASURED if value is None else f"{value:,.4g}{unit}"

    return [
        Fact("Temperature", told(moment.temperature_c, " °C")),
        Fact("Processor clock", told(moment.cpu_mhz, " MHz")),
        Fact("Load", told(moment.load, "")),
    ]
