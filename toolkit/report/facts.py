"""The short facts of the page: headline, key figures, the summary of the frames, and provenance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from jetson.manifest import Exit
from toolkit.report.formats import (
    NA,
    is_number,
    metric_name,
    milliseconds,
    moment,
    quality,
    share,
    short,
    significant,
)
from toolkit.report.frames import FrameLog
from toolkit.report.gather import Measured, Run
from toolkit.report.naming import device_name, engine_name, precision_name
from toolkit.report.readings import conditions, from_to, power, reading_name

SUMMARY_SHOWN = ("frames", "acc_at_d", "miss_rate", "infeasible_share", "late", "mean_compute_ms", "exits", "dropped")


@dataclass(frozen=True)
class Fact:
    """A figure or a text with its name; `note` says what it means, `full` is the whole of a text that was cut."""

    name: str
    value: str
    note: str = ""
    full: str = ""


def title(run: Run) -> str:
    """What the report is of, in one line."""
    if run.bundle is None:
        return "Latency profile" if run.profiles else "Run"
    manifest = run.bundle
    tokens = manifest.segments[-1].output.shape
    depth = manifest.segments[-1].layer
    width = f", width {tokens[-1]}" if len(tokens) == 3 else ""
    exits = len(manifest.exits)
    return f"Vision Transformer, {depth} layers{width}, {exits} exit{'s' if exits != 1 else ''}"


def sentence(run: Run) -> str:
    """What this is, for who has never heard of it."""
    if run.bundle is None:
        what = "how long each part of a model takes on a device" if run.profiles else "the frames that a model answered"
        return f"This page shows {what}; the model itself (the bundle) was not given."
    exits = run.bundle.exits
    data = run.bundle.provenance.data
    does = "tells" if run.bundle.task == "classification" else "estimates"
    object_ = f"{len(run.bundle.classes)} classes apart" if run.bundle.classes else _outputs(run.bundle.outputs)
    where = f" ({data.name})" if data else ""
    if len(exits) == 1:
        return f"A Vision Transformer that {does} {object_}{where}. It has one exit, so it always runs to its end."
    first, last = exits[0], exits[-1]
    return (
        f"A Vision Transformer that {does} {object_}{where} and can stop early, at any of {len(exits)} exits: the "
        f"first {_when(run, first)}{_worth(run, first)}, the last {_when(run, last)}{_worth(run, last)}. At run time a "
        "planner takes the exit that the time allows."
    )


def _when(run: Run, exit_: Exit) -> str:
    if not run.profiles:
        return ""
    return f"answers after {milliseconds(run.exit_latency(exit_).end_to_end_ms.median)} and "


def _outputs(n: int) -> str:
    return f"{n} values" if n != 1 else "one value"


def _worth(run: Run, exit_: Exit) -> str:
    found = run.shown_quality(exit_)
    value = quality(found.value, found.metric)
    return f"is right {value} of the time" if found.metric == "accuracy" else f"is off by {value} on average"


def headline(run: Run) -> list[Fact]:
    """Task, checkpoint, device, engine and dates."""
    facts = []
    if run.bundle is not None:
        manifest = run.bundle
        checkpoint = manifest.provenance.checkpoint
        name = PurePath(checkpoint).name or checkpoint
        facts.append(Fact("Checkpoint", short(name, 16), full=checkpoint))
    if run.profiles:
        facts += [Fact("Device", device_name(run.profile)), Fact("Engine", engine_name(run.profile))]
    if run.bundle is not None:
        facts.append(Fact("Bundle built", moment(run.bundle.provenance.created)))
    if run.profiles:
        facts.append(Fact("Profile measured", moment(run.profile.created)))
    return [f for f in facts if f.value]


def key_figures(run: Run) -> list[Fact]:
    """The three figures that matter: what the model is worth, how long it takes, and how it does within budgets."""
    facts = []
    exits = run.bundle.exits if run.bundle is not None else ()
    if exits:
        first, last = run.shown_quality(exits[0]), run.shown_quality(exits[-1])
        values = [quality(q.value, q.metric) for q in (first, last)]
        metric = metric_name(first.metric)
        facts.append(
            Fact(
                metric.capitalize(),
                values[1] if len(exits) == 1 else f"{values[0]} → {values[1]}",
                f"{'one exit' if len(exits) == 1 else 'first exit → last exit'}, {last.n:,} images of the "
                f"{run.shown_split} split" + ("" if metric == "accuracy" else "; lower is better"),
            )
        )
    if run.profiles:
        names = [run.names[0], run.names[-1]]
        found = {e.name: e.end_to_end_ms.median for e in run.profile.exits}
        times = [found[n] for n in names]
        ratio = f"; {significant(times[1] / times[0])}× as long" if times[0] > 0 and len(run.names) > 1 else ""
        same = len(run.names) == 1
        text = milliseconds(times[1]) if same else f"{milliseconds(times[0])} → {milliseconds(times[1])}"
        facts.append(
            Fact("Median time of an answer", text, f"{'one exit' if same else 'first exit → last exit'}{ratio}")
        )
    if run.logs and run.logs[0].log.frames:
        log = run.logs[0].log
        summary = log.summary or {}
        note = f"of {len(log.frames):,} frames" + (f", run {run.logs[0].label}" if len(run.logs) > 1 else "")
        if is_number(summary.get("acc_at_d")):
            facts.append(Fact("Right and in time", share(summary["acc_at_d"]), f"{note} (acc@D)"))
        else:
            on_time = sum(not f.late for f in log.frames) / max(1, len(log.frames))
            facts.append(Fact("In time", share(on_time), note))
    return facts


def frame_figures(run: Run, log: FrameLog) -> list[Fact]:
    """The summary of the frames; what the log does not tell reads n/a."""
    summary: dict[str, Any] = log.summary or {}
    late = sum(f.late for f in log.frames)
    facts = [Fact("Frames", f"{len(log.frames):,}")]
    if run.classify:
        facts.append(Fact("Right and in time", share(summary.get("acc_at_d")), "acc@D, of all frames"))
    else:
        facts.append(Fact("Mean error", significant(summary.get("mean_absolute_error")), "absolute, of the answers"))
    if summary.get("dropped"):
        facts.append(Fact("Dropped", f"{summary['dropped']:,}", "frames that came meanwhile, not answered"))
    return [
        *facts,
        Fact("Miss rate", share(summary.get("miss_rate")), "late, of the budgets the quickest exit can meet"),
        Fact("Infeasible", share(summary.get("infeasible_share")), "budgets the quickest exit cannot meet"),
        Fact("Late", f"{late:,}", "answers after their budget, infeasible ones included"),
        Fact("Mean compute", milliseconds(summary.get("mean_compute_ms")), "per frame"),
    ]


def frame_extras(log: FrameLog) -> list[Fact]:
    """Figures of the summary that this version has no place for, under the names they came with."""
    summary = log.summary or {}
    return [
        Fact(key.replace("_", " "), significant(value, 4) if is_number(value) else str(value))
        for key, value in summary.items()
        if key not in SUMMARY_SHOWN and isinstance(value, str | int | float)
    ]


def provenance(run: Run) -> list[tuple[str, list[Fact]]]:
    """Named groups of facts: where the bundle comes from, what it was measured on, and under which conditions."""
    groups = []
    if run.bundle is not None:
        manifest, origin, identity = run.bundle, run.bundle.provenance, run.bundle.identity
        groups.append(
            (
                "Bundle",
                [
                    Fact("Identity", short(identity, 16), full=identity),
                    Fact("Build", short(manifest.build, 16), full=manifest.build),
                    Fact("Created", moment(origin.created)),
                    Fact("Command", origin.command),
                    Fact("Checkpoint", short(origin.checkpoint, 60), full=origin.checkpoint),
                    Fact("Versions", ", ".join(f"{name} {version}" for name, version in origin.versions.items())),
                ],
            )
        )
    for measured in run.profiles:
        several = len(run.profiles) > 1
        groups.append((f"Profile {measured.label}" if several else "Profile", _measured(measured)))
    files = [(m.label, m.file) for m in run.logs]
    if files:
        groups.append(("Runs", [Fact(label, file.name) for label, file in files]))
    groups.append(("Report", [Fact("Written by", f"offramp {tool_version()}")]))
    return groups


def tool_version() -> str:
    """Of this Offramp; with the commit where it runs from a checkout."""
    from importlib import metadata

    try:
        version = metadata.version("offramp")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    commit = checkout_commit(Path(__file__).parents[2])
    return f"{version}, commit {commit}" if commit else version


def checkout_commit(root: Path) -> str | None:
    """The commit that is checked out at `root`, twelve digits; `+` when files differ; None where git cannot say."""
    import subprocess

    if not (root / ".git").exists():
        return None
    try:
        asked = ("git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*")
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return told or None


def _measured(measured: Measured) -> list[Fact]:
    profile = measured.profile
    device = profile.device
    return [
        Fact("File", measured.file.name),
        Fact("Machine", device.machine),
        Fact("Processor", f"{device.processor}, {device.cores} core{'s' if device.cores != 1 else ''}"),
        Fact("Board", device.board or NA),
        Fact("JetPack", device.jetpack or NA),
        Fact("GPU", device.gpu or NA),
        Fact("Power mode", device.power_mode or NA),
        Fact("Engine", engine_name(profile)),
        Fact("Precision", precision_name(profile)),
        Fact("Measured", f"{moment(profile.created)}, {profile.frames:,} frames"),
        Fact("Board power while units run", power(profile)),
        *(Fact(f"{reading_name(key)}, start → end", from_to(profile, key)) for key, _ in conditions(profile.start)),
    ]
