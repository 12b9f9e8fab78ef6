"""The chart of what each exit is worth for its time: quality against latency, with the interval of both."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from jetson.manifest import Exit
from toolkit.report import svg
from toolkit.report.axes import Axis, level_axis, padded, upright_axis
from toolkit.report.charts import Chart, Size, canvas, chart, group, mark, reach
from toolkit.report.diagram_layout import text_width
from toolkit.report.formats import metric_name, milliseconds, quality
from toolkit.report.gather import Run
from toolkit.report.placing import Block, place
from toolkit.report.svg import px

TOP, FOOT, LETTERS = 30.0, 48.0, 12.5
CAP = 4.0
"""Half of the stroke at the end of an error bar."""


def quality_chart(run: Run) -> Chart:
    """Quality against median end-to-end latency, one point per exit with its two intervals."""
    told = "Quality of each exit against its median latency; the figures are in the table above"
    return chart("fig-quality", told, lambda size: _draw(run, size, told), list(run.styles.values()))


def _draw(run: Run, size: Size, told: str) -> ET.Element:
    exits = run.manifest.exits
    worth = {e.name: run.shown_quality(e) for e in exits}
    times = {e.name: _times(run, e) for e in exits}
    height = 380.0 if size.small else 430.0
    root = canvas(size, height, told)
    earliest, latest = min(t[0] for t in times.values()), max(t[2] for t in times.values())
    start = 0.0 if earliest < 0.3 * latest else earliest - 0.1 * (latest - earliest)
    x = Axis(start, latest + 0.05 * (latest - start), size.left, size.right)
    low, high = padded([v for q in worth.values() for v in (q.low, q.high)])
    accuracy = worth[exits[0].name].metric == "accuracy"
    y = Axis(max(0.0, low), min(1.0, high) if accuracy else high, height - FOOT, TOP)
    metric = metric_name(worth[exits[0].name].metric)
    title = f"{metric}, {run.shown_split} split" + ("" if accuracy else " (lower is better)")
    level_axis(root, x, y.start, y.end, "median latency, ms", 4 if size.small else 8)
    upright_axis(root, y, size.left, size.right, title, 6, (lambda v: f"{100 * v:g}%") if accuracy else "{:g}".format)
    if len(exits) > 1:
        svg.path(root, _frontier(run, accuracy, x, y), "even")
    bars = []
    for e in exits:
        style, q = run.styles[e.name], worth[e.name]
        (p5, p50, p95), cx, cy = times[e.name], x.at(times[e.name][1]), y.at(q.value)
        tip = (
            f"{e.name}\n{metric} {quality(q.value, q.metric)} ({quality(q.low, q.metric)} to "
            f"{quality(q.high, q.metric)}), {q.n:,} images\nmedian {milliseconds(p50)}, "
            f"p5 {milliseconds(p5)}, p95 {milliseconds(p95)}"
        )
        part = group(root, style.group, tip)
        lines = f"M{px(x.at(p5))} {px(cy)}H{px(x.at(p95))}M{px(cx)} {px(y.at(q.low))}V{px(y.at(q.high))}"
        for end in (p5, p95):
            lines += f"M{px(x.at(end))} {px(cy - CAP)}v{px(2 * CAP)}"
        for end in (q.low, q.high):
            lines += f"M{px(cx - CAP)} {px(y.at(end))}h{px(2 * CAP)}"
        svg.path(part, lines, "whisker", f"stroke:{style.colour}")
        reach(part, cx - 14, cy - 14, 28, 28)
        mark(part, style, cx, cy, 1.15)
        bars.append(Block(x.at(p5), cy - 1.5, x.at(p95), cy + 1.5, 0.8))
        bars.append(Block(cx - 1.5, y.at(q.high), cx + 1.5, y.at(q.low), 0.8))
    _names(root, run, [(x.at(times[e.name][1]), y.at(worth[e.name].value)) for e in exits], bars, size, y)
    return root


def _times(run: Run, exit_: Exit) -> tuple[float, float, float]:
    p5, p50, p95 = (float(v) for v in run.exit_latency(exit_).end_to_end_ms.quantile(np.array([0.05, 0.5, 0.95])))
    return p5, p50, p95


def _names(
    root: ET.Element, run: Run, points: list[tuple[float, float]], bars: list[Block], size: Size, y: Axis
) -> None:
    """Every exit's name, with a line to its point where it stands far off."""
    names = [e.name if len(e.name) < 22 else e.name[:20] + "…" for e in run.manifest.exits]
    widths = [text_width(name, LETTERS) * 0.92 for name in names]
    inside = Block(size.left + 4, y.end - 4, size.right, y.start - 2)
    for exit_, name, (px_, py_), at in zip(
        run.manifest.exits, names, points, place(points, widths, LETTERS, inside, bars), strict=True
    ):
        part = group(root, run.styles[exit_.name].group)
        if at.far:
            end = min(max(px_, at.box.left), at.box.right), min(max(py_, at.box.top), at.box.bottom)
            svg.path(part, f"M{px(px_)} {px(py_)}L{px(end[0])} {px(end[1])}", "leader")
        svg.text(part, name, at.x, at.y + 0.35 * LETTERS, "name", anchor="middle")


def _frontier(run: Run, higher_is_better: bool, x: Axis, y: Axis) -> str:
    """The exits to which no other exit is both faster and better, joined by steps."""
    points = sorted(
        (run.exit_latency(e).end_to_end_ms.median, run.shown_quality(e).value * (1 if higher_is_better else -1))
        for e in run.manifest.exits
    )
    steps, best = "", float("-inf")
    for time, worth in points:
        if worth > best:
            best = worth
            steps += (
                f"M{px(x.at(time))} {px(y.at(abs(worth)))}"
                if not steps
                else f"H{px(x.at(time))}V{px(y.at(abs(worth)))}"
            )
    return steps
