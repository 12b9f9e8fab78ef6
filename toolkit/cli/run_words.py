"""What `offramp run` says: of one answer, and of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jetson.beliefs import Interval
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.replay import Answered
from toolkit.cli.console import out, print_table
from toolkit.cli.info import metric, quality

WORTH_NAMING = 0.01
"""Share from which on another class is named."""


def answer_words(found: Answered, manifest: Manifest, top: int) -> str:
    """One answer in a line.

    Args:
        found: it, and its frame.
        manifest: of the bundle.
        top: classes to name, the most likely first.
    """
    answer, record = found.answer, found.record
    where = f"exit {answer.exit} of {len(manifest.exits)} ({answer.exit_name})"
    said = f"{frame_name(record)}: {_said(found, manifest, top)}; {where} in {answer.elapsed_ms:.2f} ms"
    if answer.met_deadline is False and answer.budget_ms is not None:
        said += f", late: {answer.budget_ms:.2f} ms were allowed"
    if answer.error:
        said += f" ({answer.error})"
    return said


def frame_name(record: Mapping[str, Any]) -> str:
    """The frame's file, or its number."""
    return str(record["name"] or f"frame {record['source_frame']}")


def _said(found: Answered, manifest: Manifest, top: int) -> str:
    answer, record = found.answer, found.record
    if answer.value is not None:
        text = values(answer.value, manifest.exits[answer.exit - 1].interval)
        return text if record["error_abs"] is None else f"{text}, off by {record['error_abs']:.3g}"
    text = f"{answer.label}, {percent(answer.confidence)} sure"
    others = [(label, share) for label, share in alternatives(found, manifest)[: top - 1] if share >= WORTH_NAMING]
    if others:
        text += " (or " + ", ".join(f"{label} {percent(share)}" for label, share in others) + ")"
    if record["correct"] is not None:
        text += ", right" if record["correct"] else f", wrong: it is {_class(manifest, record['target'])}"
    return text


def values(value: Sequence[float], interval: Interval | None) -> str:
    """A regression's answer, and where the truth lies with the probability that calibration found."""
    if interval is None:
        return ", ".join(f"{v:.4g}" for v in value)
    both = zip(value, interval.half_width, strict=True)
    ranges = ", ".join(f"{v:.4g} [{v - half:.4g}, {v + half:.4g}]" for v, half in both)
    return f"{ranges} at {percent(interval.level)}"


def alternatives(found: Answered, manifest: Manifest) -> list[tuple[str, float]]:
    """The other classes, the most likely first, with the shares of what the answer's confidence leaves over."""
    answer = found.answer
    if answer.class_index is None or answer.confidence is None:
        return []
    scaled = answer.output.astype(np.float64) / (manifest.exits[answer.exit - 1].temperature or 1.0)
    scaled[answer.class_index] = -np.inf
    if len(scaled) < 2:
        return []
    shares = np.exp(scaled - scaled.max())
    shares *= (1.0 - answer.confidence) / shares.sum()
    order = np.argsort(-shares, kind="stable")[: len(shares) - 1]
    return [(_class(manifest, int(i)), float(shares[i])) for i in order]


def percent(share: float | None) -> str:
    """A share in words that never round to certainty."""
    if share is None:
        return "?"
    return f"{100 * share:.1f} %" if 0.0005 <= share < 0.9995 else ("> 99.9 %" if share > 0.5 else "< 0.1 %")


def _class(manifest: Manifest, index: int) -> str:
    return manifest.classes[index] if manifest.classes is not None else str(index)


def show_summary(summary: dict[str, Any], manifest: Manifest, profile: LatencyProfile) -> None:
    """A table per exit, and the summary in a line, on stdout."""
    frames, used = summary["frames"], summary["exits"]
    latency = {e.name: e.end_to_end_ms for e in profile.exits}
    worth = f"{metric(manifest)}, {manifest.exits[0].quality[-1].split}"
    print_table(
        "Exits",
        ["exit", "MFLOP", worth, "p50 ms", "p95 ms", "frames", "share"],
        [
            [
                e.name,
                f"{sum(manifest.unit(u).flops for u in e.units) / 1e6:.1f}",
                quality(e.quality[-1]),
                f"{latency[e.name].median:.3f}",
                f"{latency[e.name].quantile(0.95):.3f}",
                f"{used.get(e.name, 0):,}",
                f"{100 * used.get(e.name, 0) / max(frames, 1):.1f} %",
            ]
            for e in manifest.exits
        ],
    )
    words = {
        "acc_at_d": "acc@D {:.1%} (in time and right)",
        "mean_absolute_error": "mean abs error {:.3f}",
        "miss_rate": "miss rate {:.2%} of the budgets that can be met",
        "infeasible_share": "{:.1%} of the budgets cannot be met",
        "late": "{:,} late",
        "dropped": "{:,} dropped",
        "unreadable": "{:,} could not be read",
        "mean_compute_ms": "{:.3f} ms compute a frame",
        "p50_ms": "p50 {:.3f} ms",
        "p99_ms": "p99 {:.3f} ms",
    }
    unsaid = {key for key in ("dropped", "unreadable") if not summary[key]}
    if summary["infeasible_share"] is None:
        unsaid.add("late")  # there was no limit
    said = [text.format(summary[key]) for key, text in words.items() if summary[key] is not None and key not in unsaid]
    out.print(f"{frames:,} frames: " + ", ".join(said), markup=False)
