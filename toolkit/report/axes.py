"""Axes: where a value stands in a picture, and which ticks have room beside one another."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from toolkit.report import svg
from toolkit.report.svg import px

LETTER = 7.2
"""About as wide is a letter of a tick, in pixels."""


@dataclass(frozen=True)
class Axis:
    """A range of values on a range of pixels; `start` is where `low` stands, and may be the larger of the two."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value stands, in pixels; one beyond the ends stands at the end."""
        low, high, here = (self._bent(v) for v in (self.low, self.high, value))
        part = (here - low) / (high - low) if high > low else 0.5
        return self.start + (self.end - self.start) * min(1.0, max(0.0, part))

    def _bent(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.logarithmic else value

    def ticks(self, wanted: int, told: Callable[[float], str] = lambda v: f"{v:g}") -> list[float]:
        """About so many round values; on a level axis only those whose texts do not meet."""
        if not self.logarithmic:
            return self._even(wanted)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        kept: list[float] = []
        for digit in (1, 5, 2, 3):
            for tick in (digit * 10.0**d for d in decades):
                room = [LETTER * (len(told(tick)) + len(told(k))) / 2 + 9 for k in kept]
                apart = all(abs(self.at(tick) - self.at(k)) > r for k, r in zip(kept, room, strict=True))
                if self.low <= tick <= self.high and apart:
                    kept.append(tick)
        return sorted(kept)

    def _even(self, wanted: int) -> list[float]:
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / max(1, wanted)
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(f * size for f in (1, 2, 2.5, 5, 10) if f * size >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def level_axis(
    root: ET.Element,
    axis: Axis,
    y: float,
    top: float,
    title: str,
    wanted: int = 7,
    told: Callable[[float], str] = lambda v: f"{v:g}",
    ticks: Sequence[float] | None = None,
) -> None:
    """An axis from left to right at `y`, its grid up to `top`, and below it the title."""
    for tick in axis.ticks(wanted, told) if ticks is None else ticks:
        svg.path(root, f"M{px(axis.at(tick))} {px(top)}V{px(y)}", "grid")
        svg.text(root, told(tick), axis.at(tick), y + 17, "row", anchor="middle")
    svg.path(root, f"M{px(axis.start)} {px(y)}H{px(axis.end)}", "axis")
    if title:
        svg.text(root, title, (axis.start + axis.end) / 2, y + 36, "row", anchor="middle")


def upright_axis(
    root: ET.Element,
    axis: Axis,
    x: float,
    right: float,
    title: str,
    wanted: int = 5,
    told: Callable[[float], str] = lambda v: f"{v:g}",
) -> None:
    """An axis upwards at `x`, its grid to the `right`, and above it the title, where nobody must turn the head."""
    for tick in axis.ticks(wanted, told):
        svg.path(root, f"M{px(x)} {px(axis.at(tick))}H{px(right)}", "grid")
        svg.text(root, told(tick), x - 7, axis.at(tick) + 4, "row", anchor="end")
    svg.path(root, f"M{px(x)} {px(axis.end)}V{px(axis.start)}", "axis")
    if title:
        svg.text(root, title, 2, axis.end - 13, "row")


def padded(values: Iterable[float], share: float = 0.1, least: float = 1e-9) -> tuple[float, float]:
    """The range of values with a margin on both sides."""
    found = list(values)
    low, high = min(found), max(found)
    margin = share * (high - low) or share * abs(high) or least
    return low - margin, high + margin
