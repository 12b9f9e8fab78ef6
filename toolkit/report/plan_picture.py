"""The planner's tables as pictures: what it does at every boundary, by the time that is left.

A thin bar is going on, a block is the branch of the exit with its colour, and a hollow block is stopping, so that the
three can be told apart without colours.
"""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import numpy as np

from jetson.scheduling.grid import NEVER, Panel
from jetson.scheduling.rules import ADVANCE, STOP
from jetson.scheduling.wording import milliseconds
from toolkit.report import svg
from toolkit.report.palette import COLOURS, Style
from toolkit.report.plan_view import PlanView, panel_title
from toolkit.report.svg import px

LEFT, WIDTH, RIGHT = 62, 336, 14
"""Room for the names of the boundaries, width of the time axis, and the margin after it."""
TOP, ROW, FOOT = 20, 22, 42
"""Room for the budgets' names, height of a boundary's row, and room for the time axis."""
BLOCK, BAR = 15, 3
"""Heights of a block and of the bar of going on."""
LETTER = 7.4
"""About as wide is one."""
MOVED = 30.0
"""The name of a budget stands so far from its line, at most, where another is in its way."""
MARKED = 16.0
"""A block as wide as this has room for its exit's mark."""


class Scale:
    """Where a time stands on the logarithmic axis."""

    def __init__(self, view: PlanView) -> None:
        planner = view.planner
        self.low = max(0.5 * planner.slowdown * float(planner.rules.profiled_ms.min()), 1e-6)
        self.high = max(float(view.grid.times_ms[-1]), 2.0 * self.low)

    def x(self, ms: float) -> float:
        """In pixels, within the axis."""
        share = math.log(min(max(ms, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return LEFT + WIDTH * share

    def ticks(self) -> list[float]:
        """At 1, 2 and 5 of each decade, or at 1 only where that is too many."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 5), (1,)):
            found = [d * 10.0**decade for decade in decades for d in digits]
            found = [t for t in found if self.low <= t <= self.high]
            if all(self.x(b) - self.x(a) > 26.0 for a, b in itertools.pairwise(found)):
                break
        return found


def panel_size(panel: Panel) -> tuple[float, float]:
    """Width and height in CSS pixels."""
    return LEFT + WIDTH + RIGHT, TOP + ROW * len(_rows(panel)) + FOOT


def draw_panel(view: PlanView, panel: Panel) -> ET.Element:
    """One panel; its colours are the page's custom properties, so it follows light and dark by itself."""
    rows, scale = _rows(panel), Scale(view)
    foot = TOP + ROW * len(rows)
    told = f"{panel_title(view, panel)}: the planner's action at each boundary by time"
    root = svg.picture("plan", told, *panel_size(panel))
    for tick in scale.ticks():
        x = scale.x(tick)
        svg.path(root, f"M{px(x)} {TOP - 4}V{px(foot)}", "grid")
        svg.text(root, f"{tick:g}", x, foot + 16, "row", anchor="middle")
    axis = "time since the frame came (ms)" if view.hidden else "time left (ms)"
    svg.text(root, axis, LEFT + WIDTH / 2, foot + 34, "row", anchor="middle")
    svg.path(root, f"M{LEFT} {px(foot)}h{WIDTH}", "axis")
    for place, stage in enumerate(rows):
        y = TOP + ROW * (place + 0.5)
        layer = view.grid.layers[stage]
        svg.text(root, f"layer {layer}" if stage else "start", LEFT - 8, y + 4, "row", anchor="end")
        for action, begins, ends in _runs(view, panel.actions[stage]):
            _run(root, view, scale, action, begins, ends, y)
    _budgets(root, view, panel, scale, rows)
    return root


def _rows(panel: Panel) -> list[int]:
    """Boundaries at which there is an action."""
    return [int(s) for s in np.flatnonzero((panel.actions != NEVER).any(axis=1))]


def _runs(view: PlanView, actions: np.ndarray) -> Iterator[tuple[int, float, float]]:
    """Equal actions beside one another: the action, and the times from which and to which it is taken."""
    times = view.grid.times_ms
    changes = np.flatnonzero(np.diff(actions)) + 1
    for begin, end in itertools.pairwise([0, *changes.tolist(), len(actions)]):
        yield int(actions[begin]), float(times[begin]), float(times[end]) if end < len(times) else math.inf


def _run(root: ET.Element, view: PlanView, scale: Scale, action: int, begins: float, ends: float, y: float) -> None:
    left, right = scale.x(begins), scale.x(ends)
    if right - left < 0.05:
        return
    high = BAR if action == ADVANCE else BLOCK
    kind = {ADVANCE: "on", STOP: "stop"}.get(action, "branch")
    place = {"x": px(left), "y": px(y - high / 2), "width": px(right - left), "height": px(high)}
    style = {"style": f"fill:{view.styles[action].colour}"} if action >= 0 else {}
    group = ET.SubElement(root, "g")
    ET.SubElement(group, "rect", {"class": kind} | place | style)
    names = {ADVANCE: "go on", STOP: "stop"}
    what = names[action] if action in names else f"run {view.manifest.exits[action].name}"
    till = f"to {milliseconds(ends)}" if ends < math.inf else "or more"
    ET.SubElement(group, "title").text = f"{what}: {milliseconds(begins)} {till}"
    if action >= 0 and len(view.styles) > COLOURS and right - left >= MARKED:
        draw_mark(group, view.styles[action], (left + right) / 2, y)


def draw_mark(root: ET.Element, style: Style, x: float, y: float) -> None:
    """The exit's mark on its colour: where there are more exits than colours, that tells them apart."""
    ET.SubElement(
        root,
        "path",
        {"class": "mark", "d": style.path, "transform": f"translate({px(x - 4.5)} {px(y - 4.5)}) scale(.75)"},
    )


def _budgets(root: ET.Element, view: PlanView, panel: Panel, scale: Scale, rows: list[int]) -> None:
    """How time goes from boundary to boundary, when every unit takes its median, as long as the planner goes on."""
    if view.hidden:
        _line(root, _way(view, panel, scale, rows, [float(panel.spent_ms[s]) for s in rows]))
    free, budgets = -math.inf, sorted(t.budget_ms for t in view.told if t.budget_ms is not None)
    for ms in budgets:
        if view.hidden:
            points = [(scale.x(ms), TOP - 4.0), (scale.x(ms), TOP + ROW * float(len(rows)))]
        else:
            points = _way(view, panel, scale, rows, [ms - float(panel.spent_ms[s]) for s in rows])
        if not points:
            continue
        _line(root, points, "until" if view.hidden else "way")
        name = f"{ms:.4g}" + (" ms" if ms == budgets[-1] else "")
        half = LETTER * len(name) / 2
        x = max(points[0][0], free + half)
        if x - points[0][0] <= MOVED and x + half <= LEFT + WIDTH + 2 * RIGHT:
            free = x + half + 5.0
            svg.text(root, name, x, TOP - 7, "budget", anchor="middle")


def _way(view: PlanView, panel: Panel, scale: Scale, rows: list[int], times: list[float]) -> list[tuple[float, float]]:
    """Down to the first boundary where something else is done than going on."""
    points: list[tuple[float, float]] = []
    for place, (stage, ms) in enumerate(zip(rows, times, strict=True)):
        if ms < scale.low and not view.hidden:
            break
        points.append((scale.x(ms), TOP + ROW * (place + 0.5)))
        column = int(np.searchsorted(view.grid.times_ms, ms, side="right")) - 1
        if panel.actions[stage, column] != ADVANCE:
            break
    return points


def _line(root: ET.Element, points: list[tuple[float, float]], kind: str = "way") -> None:
    if not points:
        return
    d = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
    svg.path(root, d, "halo")
    svg.path(root, d, kind)
    if kind == "way":
        for x, y in points:
            ET.SubElement(root, "circle", {"class": "stand", "cx": px(x), "cy": px(y), "r": "2.4"})
