"""Policies by scenario as three small pictures: what they are worth, what they miss and what they compute.

SVG as of the plans: it follows light and dark by itself, needs no script, and the pointer reads a row's figures.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.report import svg
from toolkit.report.comparison import BASELINE, ORACLE, Comparison
from toolkit.report.formats import milliseconds, share
from toolkit.report.palette import INK, MARKS, Style
from toolkit.report.svg import px

LEFT, WIDTH, RIGHT = 118, 272, 8
"""Room for the scenarios' names, width of the axis, and the margin after it."""
INSET = 12
"""Room on the axis beside the outermost marks."""
TOP, ROW, FOOT = 4, 38, 40
"""Margin, height of a scenario's row, and room for the axis."""
USED = 0.76
"""Share of a row that its marks take."""
SIZE = 0.75
"""Of a mark, whose box is 12 pixels wide."""
LETTER = 7.4
"""About as wide is one."""
TRIANGLE, CROSS = "M.5 1.5h11L6 11z", "M3 .8L6 3.8L9 .8L11.2 3L8.2 6L11.2 9L9 11.2L6 8.2L3 11.2L.8 9L3.8 6L.8 3z"
LOOKS = {
    "planner": ("var(--exit-0)", MARKS[0][1]),
    "replan": (INK, MARKS[2][1]),
    "threshold": ("var(--exit-2)", MARKS[1][1]),
    "alert": ("var(--exit-1)", MARKS[3][1]),
    "deepest": ("var(--exit-3)", TRIANGLE),
    "static": ("var(--exit-4)", CROSS),
}
"""Colour and mark by kind of policy, in the order in which they stand in a row; as in docs/results.md."""


@dataclass(frozen=True)
class Drawn:
    """One picture with its title."""

    title: str
    drawing: str


@dataclass(frozen=True)
class Axis:
    """Where a figure stands: evenly up to `even`, on a logarithmic scale beyond it."""

    low: float
    high: float
    even: float

    @classmethod
    def of(cls, values: Sequence[float], even: float) -> Axis:
        """An axis that holds these figures and 0."""
        return cls(min(*values, 0.0), max(*values, 0.0), even)

    def x(self, value: float) -> float:
        """In pixels."""
        low, high = self._bent(self.low), self._bent(self.high)
        share_of = (self._bent(value) - low) / max(high - low, 1e-9)
        return LEFT + INSET + (WIDTH - 2 * INSET) * share_of

    def _bent(self, value: float) -> float:
        size = abs(value) / self.even
        return math.copysign(size if size <= 1.0 else 1.0 + math.log10(size), value)

    def ticks(self, wanted: Sequence[float], told: Callable[[float], str]) -> list[float]:
        """Those on the axis that have room beside the ones before them."""
        found: list[float] = []
        for tick in (t for t in wanted if self.low <= t <= self.high):
            needs = [LETTER * (len(told(t)) + len(told(tick))) / 2 + 6.0 for t in found]
            if all(abs(self.x(t) - self.x(tick)) >= n for t, n in zip(found, needs, strict=True)):
                found.append(tick)
        return found


@dataclass(frozen=True)
class Panel:
    """What one of the pictures shows."""

    title: str
    axis: str
    figure: Callable[[str, str], float | None]
    """Of a scenario and a policy; None where there is none."""
    even: float
    wanted: Sequence[float]
    """Ticks, the more important the earlier."""
    tick: Callable[[float], str]
    tip: Callable[[str, str], str]
    """All that is to be said of a scenario and a policy."""


def look_of(policy: str) -> Style | None:
    """How a policy looks; None for an oracle, which is not drawn."""
    colour, path = LOOKS.get(policy.partition("-")[0], ("", ""))
    return Style(policy, policy, colour, "", path) if path else None


def drawn_policies(compared: Comparison) -> list[Style]:
    """The looks of those that are drawn, in the order of a row."""
    looks = [look for p in compared.policies if (look := look_of(p)) is not None]
    return sorted(looks, key=lambda look: list(LOOKS).index(look.name.partition("-")[0]))


def pictures(compared: Comparison) -> list[Drawn]:
    """All three."""
    return [Drawn(p.title, ET.tostring(draw(compared, p), encoding="unicode")) for p in panels(compared)]


def panels(compared: Comparison) -> list[Panel]:
    """What is drawn."""
    return [_merits(compared), _misses(compared), _computing(compared)]


def _merits(compared: Comparison) -> Panel:
    name, unit = ("acc@D", "points of acc@D") if compared.classify else ("value", "value")
    told = _points if compared.classify else _value

    def tip(s: str, p: str) -> str:
        gain = told(compared.gain(s, p)) + (" points" if compared.classify else "")
        return f"{name} {worth(compared, compared.merit(s, p))}, {gain} against {ORACLE}"

    steps = [sign * size for size in (1.0, 10.0, 100.0, 3.0, 30.0, 0.5, 0.2, 0.1) for sign in (-0.01, 0.01)]
    title = f"{'acc@D' if compared.classify else 'Value'} against the latency oracle"
    return Panel(title, f"{unit}, more is better", compared.gain, 0.01, (0.0, *steps), told, tip)


def _misses(compared: Comparison) -> Panel:
    def tip(s: str, p: str) -> str:
        found = compared.missed(s, p)
        return "no budget could be met" if found is None else f"{100 * found:.2f}% missed"

    ticks = (0.0, 0.01, 0.1, 1.0, 0.001)
    axis = "% of those that could be met"
    return Panel("Budgets missed", axis, compared.missed, 0.001, ticks, lambda v: f"{100 * v:g}", tip)


def _computing(compared: Comparison) -> Panel:
    def more(s: str, p: str) -> float | None:
        effort = compared.effort(s, p)
        return None if effort is None else effort - 1.0

    def tip(s: str, p: str) -> str:
        found = more(s, p)
        return milliseconds(compared.compute_ms(s, p)) + ("" if found is None else f", {_percent(found)}%")

    ticks = (0.0, -0.5, 0.5, 1.0, 5.0, 10.0, -0.25, 0.25, 2.0, -0.1, 0.1)
    return Panel(f"Computing against {BASELINE}", "% more a frame", more, 0.5, ticks, _percent, tip)


def worth(compared: Comparison, merit: float) -> str:
    """A merit as text."""
    return share(merit) if compared.classify else f"{merit:.3f}".replace("-", "−")


def draw(compared: Comparison, panel: Panel) -> ET.Element:
    """One picture."""
    looks, rows = drawn_policies(compared), compared.scenarios
    found = {(s, p.name): v for s in rows for p in looks if (v := panel.figure(s, p.name)) is not None}
    axis, foot = Axis.of([*found.values(), 0.0], panel.even), TOP + ROW * len(rows)
    root = svg.picture("plan compared", f"{panel.title}, by scenario and policy", LEFT + WIDTH + RIGHT, foot + FOOT)
    for place in range(0, len(rows), 2):
        _band(root, place, "band")
    for tick in axis.ticks(panel.wanted, panel.tick):
        svg.path(root, f"M{px(axis.x(tick))} {TOP}V{px(foot)}", "even" if tick == 0.0 else "grid")
        svg.text(root, panel.tick(tick), axis.x(tick), foot + 16, "row", anchor="middle")
    svg.path(root, f"M{LEFT} {px(foot)}h{WIDTH}", "axis")
    svg.text(root, panel.axis, LEFT + WIDTH / 2, foot + 33, "row", anchor="middle")
    for place, scenario in enumerate(rows):
        middle = TOP + ROW * (place + 0.5)
        svg.text(root, scenario, LEFT - 8, middle + 4, anchor="end")
        for number, look in enumerate(looks):
            if (value := found.get((scenario, look.name))) is not None:
                y = middle + USED * ROW * ((number + 0.5) / len(looks) - 0.5)
                _mark(root, look, axis.x(value), y)
        lines = [f"{look.name}: {panel.tip(scenario, look.name)}" for look in looks]
        ET.SubElement(_band(root, place, "tip"), "title").text = "\n".join([scenario, *lines])
    return root


def _band(root: ET.Element, place: int, kind: str) -> ET.Element:
    """A scenario's row from end to end."""
    size = {"x": "0", "y": px(TOP + ROW * place), "width": px(LEFT + WIDTH + RIGHT), "height": px(ROW)}
    return ET.SubElement(root, "rect", {"class": kind} | size)


def _mark(root: ET.Element, look: Style, x: float, y: float) -> None:
    move = f"translate({px(x - 6 * SIZE)} {px(y - 6 * SIZE)}) scale({SIZE})"
    ET.SubElement(
        root,
        "path",
        {"class": "spot", "d": look.path, "transform": move, "style": f"fill:{look.colour}", "data-of": look.name},
    )


def _signed(text: str) -> str:
    """With a true minus, and no sign on 0."""
    return text if text.strip("+-0.") else text.lstrip("+-")


def _points(value: float) -> str:
    return _signed(f"{round(100 * value, 2):+g}").replace("-", "−")


def _value(value: float) -> str:
    return _signed(f"{round(value, 4):+g}").replace("-", "−")


def _percent(value: float) -> str:
    return _signed(f"{100 * value:+.0f}").replace("-", "−")
