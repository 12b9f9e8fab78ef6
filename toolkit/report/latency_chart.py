"""The chart of how the time of each unit spreads: a fan of quantiles per unit."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from jetson.profiling.profile import LatencyProfile, Sketch
from toolkit.report import svg
from toolkit.report.axes import Axis, level_axis
from toolkit.report.charts import Chart, Size, bar, canvas, chart, group, reach
from toolkit.report.diagram_layout import text_width
from toolkit.report.formats import milliseconds
from toolkit.report.gather import Run
from toolkit.report.palette import SEGMENT
from toolkit.report.svg import px

LOG_FROM = 12.0
"""Medians further apart than this factor are drawn on a logarithmic axis, or the short units would be specks."""
FANS = ((0.01, 0.99, 3.0, 0.6), (0.05, 0.95, 8.0, 0.75), (0.25, 0.75, 15.0, 1.0))
"""Lower level, upper level, thickness in pixels, opacity."""
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
ROW, TOP, FOOT = 27.0, 8.0, 48.0
LETTERS = 12.5


@dataclass(frozen=True)
class Row:
    """One unit."""

    name: str
    host: Sketch
    gpu: Sketch | None
    colour: str


def latency_chart(run: Run, profile: LatencyProfile, name: str = "fig-latency") -> Chart:
    """Host time of every unit as a fan of quantiles, in the order in which the units run."""
    rows = list(_rows(run, profile))
    told = "Spread of the host time of each unit"
    return chart(name, told, lambda size: _draw(rows, size, told))


def _draw(rows: list[Row], size: Size, told: str) -> ET.Element:
    low = min(float(r.host.quantile(0.01)) for r in rows)
    high = max(float(r.host.quantile(0.99)) for r in rows)
    medians = [r.host.median for r in rows]
    logarithmic = low > 0 and max(medians) > LOG_FROM * min(medians)
    most = 130.0 if size.small else 200.0
    left = min(most, max(text_width(r.name, LETTERS) for r in rows) + 12)
    foot = TOP + ROW * len(rows)
    root = canvas(size, foot + FOOT, told)
    x = Axis(0.9 * low if logarithmic else 0.0, 1.02 * high, left, size.right - 74, logarithmic)
    level_axis(
        root, x, foot, TOP, "time in the engine, ms" + (" (logarithmic)" if logarithmic else ""), 3 if size.small else 7
    )
    for place, row in enumerate(rows):
        middle = TOP + ROW * (place + 0.5)
        part = group(root, tip=_spread(row))
        reach(part, 0, middle - ROW / 2, size.width, ROW)
        svg.text(part, _cut(row.name, left - 12), left - 8, middle + 4, "name", anchor="end")
        for a, b, thick, opacity in FANS:
            start, end = (x.at(float(row.host.quantile(level))) for level in (a, b))
            bar(part, start, middle - thick / 2, max(1.0, end - start), thick, row.colour, opacity)
        svg.path(part, f"M{px(x.at(row.host.median))} {px(middle - 10)}v20", "median")
        if row.gpu is not None:
            place_ = {"cx": px(x.at(row.gpu.median)), "cy": px(middle), "r": "4.5", "class": "ring"}
            ET.SubElement(part, "circle", place_)
        svg.text(part, milliseconds(row.host.median), size.right, middle + 4, "name", anchor="end")
    return root


def _rows(run: Run, profile: LatencyProfile) -> Iterator[Row]:
    """The preprocessing, then each segment with the branches that follow it."""
    yield Row("preprocess", profile.preprocess_ms, None, SEGMENT)
    if run.bundle is None:
        for name, unit in profile.units.items():
            yield Row(name, unit.host_ms, unit.gpu_ms, SEGMENT)
        return
    colours = {e.units[-1]: run.styles[e.name].colour for e in run.bundle.exits}
    order = {"segment": 0, "branch": 1}
    for u in sorted(run.bundle.units, key=lambda u: (u.layer, order[u.kind])):
        found = profile.units[u.name]
        yield Row(u.name, found.host_ms, found.gpu_ms, colours.get(u.name, SEGMENT))


def _cut(text: str, room: float) -> str:
    if text_width(text, LETTERS) <= room:
        return text
    return text[: max(1, int(room / text_width("x", LETTERS)) - 1)] + "…"


def _spread(row: Row) -> str:
    parts = (f"p{round(100 * p)} {milliseconds(float(row.host.quantile(p)))}" for p in LEVELS)
    gpu = [f"GPU median {milliseconds(row.gpu.median)}"] if row.gpu is not None else []
    return "\n".join([f"{row.name}, measured {row.host.n:,} times", *parts, *gpu])
