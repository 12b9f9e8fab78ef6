"""What a budget buys: what is to be expected of the planner at every budget, as a chart and as data for its slider."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.explain import Explanation, explain
from jetson.scheduling.planner import Planner
from toolkit.report import svg
from toolkit.report.axes import Axis, level_axis, padded, upright_axis
from toolkit.report.charts import NARROW, WIDE, Chart, Size, canvas, chart, group
from toolkit.report.formats import milliseconds, rounded, share, significant
from toolkit.report.gather import Measured, Run
from toolkit.report.palette import MUTED, Style, style_of
from toolkit.report.plan_picture import draw_mark
from toolkit.report.plan_view import usual_budgets
from toolkit.report.svg import px

OFTEN = 0.1
"""Where more than this share comes late, the axis of quality does not follow."""
STEPS = 72
"""Budgets that are asked about."""
TOP, SHARES, GAP, WORTH, MISSED, FOOT = 30.0, 150.0, 40.0, 110.0, 70.0, 48.0


@dataclass(frozen=True)
class Outlook:
    """What one profile's planner would come to."""

    name: str
    label: str
    chart: Chart
    told: tuple[Explanation, ...]
    data: dict[str, Any]
    """What `budget.js` reads."""
    start: int
    """Where the slider stands at first."""
    style: Style | None

    @property
    def option(self) -> tuple[str, str, Style | None]:
        """For the choice between profiles."""
        return self.name, self.label, self.style

    @property
    def worth_name(self) -> str:
        """What `worth` in the data is."""
        return "Right and in time, expected" if self.told[0].metric == "accuracy" else "Mean error, expected"


def outlooks(run: Run) -> list[Outlook]:
    """One per profile."""
    return [_outlook(run, measured, place) for place, measured in enumerate(run.profiles)]


def asked_budgets(profile: LatencyProfile) -> list[float]:
    """From where not even the quickest exit fits to where the last one surely does, evenly on a logarithmic scale."""
    low = min(float(e.end_to_end_ms.quantile(0.05)) for e in profile.exits)
    high = max(float(e.end_to_end_ms.quantile(0.99)) for e in profile.exits)
    low, high = max(0.7 * low, 1e-6), 1.5 * high
    return [float(f"{ms:.3g}") for ms in np.geomspace(low, max(high, 1.2 * low), STEPS)]


def _outlook(run: Run, measured: Measured, place: int) -> Outlook:
    planner = Planner(run.manifest, measured.profile, run.samples)
    told = tuple(explain(planner, ms) for ms in asked_budgets(measured.profile))
    said = f"What is to be expected within each budget, by the profile {measured.label}"
    styles = list(run.styles.values())
    drawn = chart(f"fig-outlook-{place}", said, lambda size: _draw(told, styles, size, said), styles)
    usual = usual_budgets(measured.profile)
    middle = usual[len(usual) // 2]
    start = min(range(len(told)), key=lambda i: abs(math.log((told[i].budget_ms or middle) / middle)))
    return Outlook(
        f"outlook-{place}", measured.label, drawn, told, _data(told, styles), start, style_of(place, measured.label)
    )


def _data(told: Sequence[Explanation], styles: Sequence[Style]) -> dict[str, Any]:
    axes = [_time(told, size) for size in (WIDE, NARROW)]
    return {
        "at": [[round(axis.at(t.budget_ms or 0.0), 1) for t in told] for axis in axes],
        "budget": [milliseconds(t.budget_ms) for t in told],
        "worth": [_worth(t) for t in told],
        "late": [share(t.miss) for t in told],
        "compute": [milliseconds(t.compute_ms) for t in told],
        "exits": [style.name for style in styles],
        "shares": [[rounded(e.in_time + e.late, 4) for e in t.exits] for t in told],
        "met": [bool(t.can_be_met) for t in told],
    }


def _worth(told: Explanation) -> str:
    if told.metric == "accuracy":
        return share(told.worth)
    return significant(told.quality) if told.quality is not None else "n/a"


def _time(told: Sequence[Explanation], size: Size) -> Axis:
    budgets = [t.budget_ms or 0.0 for t in told]
    return Axis(budgets[0], budgets[-1], size.left, size.right, logarithmic=True)


def _draw(told: Sequence[Explanation], styles: Sequence[Style], size: Size, said: str) -> ET.Element:
    heights = (SHARES, WORTH, MISSED)
    root = canvas(size, TOP + sum(heights) + 2 * GAP + FOOT, said)
    x = _time(told, size)
    ticks = x.ticks(4 if size.small else 10, lambda v: f"{v:g}")
    shares = Axis(0.0, 1.0, TOP + SHARES, TOP)
    upright_axis(root, shares, size.left, size.right, "which exit answers, share of frames", 2, _percent)
    _areas(root, told, styles, x, shares)
    top = TOP + SHARES + GAP
    accuracy = told[0].metric == "accuracy"
    values = [t.worth if accuracy else t.quality for t in told]
    # Budgets that nothing can meet would take the whole axis; where they do, the line leaves it at the foot.
    known = [v for v, t in zip(values, told, strict=True) if v is not None and (t.miss < OFTEN or not accuracy)]
    low, high = padded(known, 0.12, 0.01) if known else (0.0, 1.0)
    worth = Axis(max(0.0, low), min(1.0, high) if accuracy else high, top + WORTH, top)
    title = "right and in time, expected" if accuracy else "mean absolute error, expected (lower is better)"
    form = _percent if accuracy else "{:g}".format
    upright_axis(root, worth, size.left, size.right, title, 3, form)
    svg.path(root, _line(told, values, x, worth), "curve", "stroke:var(--ink)")
    top += WORTH + GAP
    # As above: the part that a choice can be made in is that where the quickest exit is in time.
    most = max([1.2 * t.miss for t in told if t.can_be_met] + [0.05])
    missed = Axis(0.0, min(1.0, most), top + MISSED, top)
    upright_axis(root, missed, size.left, size.right, f"late, expected (up to {_percent(round(most, 2))})", 2, _percent)
    svg.path(root, _line(told, [t.miss for t in told], x, missed), "curve", f"stroke:{MUTED}")
    for a, b in ((TOP, TOP + SHARES), (TOP + SHARES + GAP, TOP + SHARES + GAP + WORTH)):
        svg.path(root, f"M{px(x.start)} {px(b)}H{px(x.end)}", "axis")
        for tick in ticks:
            svg.path(root, f"M{px(x.at(tick))} {px(a)}V{px(b)}", "grid over" if a == TOP else "grid")
    level_axis(root, x, top + MISSED, top, "budget, ms (logarithmic)", told="{:g}".format, ticks=ticks)
    svg.path(root, f"M0 {px(TOP)}V{px(top + MISSED)}", "cursor")
    return root


def _areas(root: ET.Element, told: Sequence[Explanation], styles: Sequence[Style], x: Axis, y: Axis) -> None:
    """One on top of the other, the first exit at the foot; what is missing to all is late."""
    below = [0.0] * len(told)
    for place, style in enumerate(styles):
        above = [b + t.exits[place].in_time for b, t in zip(below, told, strict=True)]
        if max(a - b for a, b in zip(above, below, strict=True)) > 0.002:
            there = [(x.at(t.budget_ms or 0.0), y.at(a)) for t, a in zip(told, above, strict=True)]
            back = [(x.at(t.budget_ms or 0.0), y.at(b)) for t, b in zip(told, below, strict=True)]
            d = "M" + "L".join(f"{px(a)} {px(b)}" for a, b in [*there, *reversed(back)]) + "z"
            part = group(root, style.group, style.name)
            svg.path(part, d, "area", f"fill:{style.colour}")
            _name(part, told, [a - b for a, b in zip(above, below, strict=True)], above, style, x, y)
        below = above


def _name(
    part: ET.Element,
    told: Sequence[Explanation],
    shares: Sequence[float],
    above: Sequence[float],
    style: Style,
    x: Axis,
    y: Axis,
) -> None:
    """Write an area's name into it, or where that has no room, its mark."""
    most = [i for i, share_ in enumerate(shares) if share_ > 0.5 * max(shares)]
    middle = most[len(most) // 2]
    across = x.at(told[middle].budget_ms or 0.0)
    up = y.at(above[middle] - shares[middle] / 2)
    tall = abs(y.at(shares[middle]) - y.at(0.0))
    wide = x.at(told[most[-1]].budget_ms or 0.0) - x.at(told[most[0]].budget_ms or 0.0)
    if tall > 20 and wide > 9.0 * len(style.name):
        svg.text(part, style.name, across, up + 4, "inside", anchor="middle")
    elif tall > 14 and wide > 14:
        draw_mark(part, style, across, up)


def _line(told: Sequence[Explanation], values: Sequence[float | None], x: Axis, y: Axis) -> str:
    d = ""
    for t, value in zip(told, values, strict=True):
        if value is not None and math.isfinite(value) and y.low <= value <= y.high:
            d += f"{'L' if d else 'M'}{px(x.at(t.budget_ms or 0.0))} {px(y.at(value))}"
    return d


def _percent(value: float) -> str:
    return f"{100 * value:g}%"
