"""The chart of how the time of each unit spreads: a fan of quantiles per unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jetson.profiling.profile import Sketch
from toolkit.report.charts import Chart, Trace, axis, layout
from toolkit.report.formats import milliseconds, plain, rounded
from toolkit.report.gather import Run
from toolkit.report.palette import INK, MUTED, SEGMENT

LOG_FROM = 12.0
"""Medians further apart than this factor are drawn on a logarithmic axis, or the short units would be specks."""
FANS = (
    ("p1 to p99", 0.01, 0.99, 0.14, 0.55),
    ("p5 to p95", 0.05, 0.95, 0.36, 0.7),
    ("p25 to p75", 0.25, 0.75, 0.66, 1),
)
"""Name, lower level, upper level, thickness in rows, opacity."""


def latency_chart(run: Run) -> Chart:
    """Host time of every unit as a fan of quantiles, in the order in which the units run."""
    rows = list(_rows(run))
    medians = [sketch.median for _, sketch, _ in rows]
    logarithmic = min(s.quantiles[0] for _, s, _ in rows) > 0 and max(medians) > LOG_FROM * min(medians)
    places = list(range(len(rows)))
    data = [_fan(rows, *fan) for fan in FANS]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "median",
            "x": [rounded(m) for m in medians],
            "y": places,
            "marker": {"symbol": "line-ns", "size": 15, "line": {"color": INK, "width": 2}},
            "text": [_spread(name, sketch) for name, sketch, _ in rows],
            "hovertemplate": "%{text}<extra></extra>",
        }
    )
    data += _gpu_medians(run, [name for name, _, _ in rows])
    data.append(
        {
            "type": "scatter",
            "mode": "text",
            "name": "median in figures",
            "meta": "wide",
            "x": [rounded(float(sketch.quantile(0.99))) for _, sketch, _ in rows],
            "y": places,
            "text": [f"  {milliseconds(m)}" for m in medians],
            "textposition": "middle right",
            "textfont": {"color": MUTED, "size": 12},
            "cliponaxis": False,
            "hoverinfo": "skip",
        }
    )
    narrow: dict[str, Any] = {"margin": {"l": 56, "r": 12, "t": 12, "b": 48}}
    if logarithmic:
        narrow["xaxis"] = {"tickformat": "~g", "tickmode": "linear", "tick0": 0, "dtick": 1}
    title = "host time (ms, logarithmic)" if logarithmic else "host time (ms)"
    kind = _log_ticks(rows) if logarithmic else {"rangemode": "tozero"}
    return Chart(
        name="fig-latency",
        data=data,
        layout=layout(
            70 + 26 * len(rows),
            barmode="overlay",
            margin={"l": 56, "r": 72, "t": 12, "b": 48},
            xaxis=axis(title, **kind),
            yaxis=axis(
                "",
                tickmode="array",
                tickvals=places,
                ticktext=[plain(name) for name, _, _ in rows],
                range=[len(rows) - 0.4, -0.6],
                showgrid=False,
                ticks="",
            ),
        ),
        narrow=narrow,
    )


def _log_ticks(rows: list[tuple[str, Sketch, str]]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 of each decade; Plotly's own would leave out the decade."""
    low = min(float(s.quantile(0.01)) for _, s, _ in rows)
    high = max(float(s.quantile(0.99)) for _, s, _ in rows)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}


def _rows(run: Run) -> Iterator[tuple[str, Sketch, str]]:
    """Name, host time and colour: the preprocessing, then each segment with the branches that follow it."""
    yield "preprocess", run.profile.preprocess_ms, SEGMENT
    colours = {e.units[-1]: run.styles[e.name].colour for e in run.manifest.exits}
    order = {"segment": 0, "branch": 1}
    for unit in sorted(run.manifest.units, key=lambda u: (u.layer, order[u.kind])):
        yield unit.name, run.profile.units[unit.name].host_ms, colours.get(unit.name, SEGMENT)


def _fan(
    rows: list[tuple[str, Sketch, str]], name: str, low: float, high: float, width: float, opacity: float
) -> Trace:
    ends = [(float(s.quantile(low)), float(s.quantile(high))) for _, s, _ in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "base": [rounded(a) for a, _ in ends],
        "x": [rounded(b - a) for a, b in ends],
        "y": list(range(len(rows))),
        "width": width,
        "marker": {"color": [colour for _, _, colour in rows], "line": {"width": 0}},
        "opacity": opacity,
        "hoverinfo": "skip",
    }


def _gpu_medians(run: Run, names: list[str]) -> list[Trace]:
    """The median between two events on the device's stream, where there is a GPU."""
    units = run.profile.units
    rows = [(i, units[n].gpu_ms) for i, n in enumerate(names) if n in units]
    measured: list[tuple[int, Any]] = [(i, sketch) for i, sketch in rows if sketch is not None]
    if not measured:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "GPU median",
            "x": [rounded(sketch.median) for _, sketch in measured],
            "y": [i for i, _ in measured],
            "marker": {"symbol": "circle-open", "size": 9, "color": INK, "line": {"width": 1.5}},
            "text": [f"GPU median {milliseconds(sketch.median)}" for _, sketch in measured],
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


def _spread(name: str, sketch: Sketch) -> str:
    levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    parts = (f"p{round(100 * p)} {milliseconds(float(sketch.quantile(p)))}" for p in levels)
    return f"<b>{plain(name)}</b>, n {sketch.n:,}<br>" + "<br>".join(parts)
