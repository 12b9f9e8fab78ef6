"""The chart of what each exit is worth for its time: quality against latency, with the interval of both."""

from __future__ import annotations

import numpy as np

from jetson.manifest import Exit
from toolkit.report.charts import Chart, Trace, axis, layout
from toolkit.report.formats import metric_name, milliseconds, plain, quality, rounded
from toolkit.report.gather import Run
from toolkit.report.palette import MUTED


def quality_chart(run: Run) -> Chart:
    """Quality against median end-to-end latency, one point per exit with its two intervals."""
    exits = run.manifest.exits
    metric = run.shown_quality(exits[0]).metric
    accuracy = metric == "accuracy"
    title = f"{metric_name(metric)}, {plain(run.shown_split)} split"
    data = [_frontier(run, accuracy)] if len(exits) > 1 else []
    data += [_point(run, exit_) for exit_ in exits]
    labels = [
        {
            "x": rounded(run.exit_latency(e).end_to_end_ms.median),
            "y": rounded(run.shown_quality(e).value),
            "text": plain(e.name),
        }
        for e in exits
    ]
    # Ranges are set here and not left to Plotly, which would move them again to make room for every label.
    ends = [run.exit_latency(e).end_to_end_ms.quantile(np.array([0.05, 0.95])) for e in exits]
    earliest, latest = float(min(a for a, _ in ends)), float(max(b for _, b in ends))
    start = 0.0 if earliest < 0.3 * latest else earliest - 0.1 * (latest - earliest)
    worth = [run.shown_quality(e) for e in exits]
    low, high = min(q.low for q in worth), max(q.high for q in worth)
    margin = 0.12 * (high - low) or 0.1 * abs(high) or 0.1
    return Chart(
        name="fig-quality",
        data=data,
        layout=layout(
            460,
            xaxis=axis(
                "median end-to-end latency (ms)", range=[rounded(start), rounded(latest + 0.06 * (latest - start))]
            ),
            yaxis=axis(
                title if accuracy else f"{title} (lower is better)",
                range=[rounded(low - margin), rounded(high + margin)],
                tickformat=".1~%" if accuracy else "",
            ),
        ),
        labels=labels,
    )


def _point(run: Run, exit_: Exit) -> Trace:
    style, sketch, worth = run.styles[exit_.name], run.exit_latency(exit_).end_to_end_ms, run.shown_quality(exit_)
    p5, p50, p95 = (float(v) for v in sketch.quantile(np.array([0.05, 0.5, 0.95])))
    bar = {"type": "data", "symmetric": False, "color": style.colour, "thickness": 1.5, "width": 4}
    low, value, high = (quality(v, worth.metric) for v in (worth.low, worth.value, worth.high))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(exit_.name),
        "x": [rounded(p50)],
        "y": [rounded(worth.value)],
        "error_x": bar | {"array": [rounded(p95 - p50)], "arrayminus": [rounded(p50 - p5)]},
        "error_y": bar
        | {"array": [rounded(worth.high - worth.value)], "arrayminus": [rounded(worth.value - worth.low)]},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 11},
        "text": [
            f"<b>{plain(exit_.name)}</b><br>{value} ({low} to {high}), n {worth.n:,}"
            f"<br>median {milliseconds(p50)}, p5 {milliseconds(p5)}, p95 {milliseconds(p95)}"
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _frontier(run: Run, higher_is_better: bool) -> Trace:
    """The exits to which no other exit is both faster and better, joined by steps."""
    points = sorted(
        (run.exit_latency(e).end_to_end_ms.median, run.shown_quality(e).value * (1 if higher_is_better else -1))
        for e in run.manifest.exits
    )
    x: list[float | None] = []
    y: list[float | None] = []
    best = float("-inf")
    for time, worth in points:
        if worth > best:
            best = worth
            x.append(rounded(time))
            y.append(rounded(abs(worth)))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": x,
        "y": y,
        "line": {"color": MUTED, "width": 1.2, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
    }
