"""Reliability diagrams, one small picture per exit: how often an answer is right against what was said of it.

They are SVG and not Plotly's: a dozen small charts flow with the width of the page, and need no script to be read.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from jetson.beliefs import Reliability, ReliabilityBin
from jetson.manifest import Exit
from toolkit.report import svg
from toolkit.report.formats import share
from toolkit.report.gather import Run
from toolkit.report.palette import INK, Style
from toolkit.report.svg import px

LEFT, TOP, SIDE = 50, 8, 195
"""Where the square of the diagram begins, and its side."""
STRIP_TOP = TOP + SIDE + 14
STRIP = 40
"""Height of the frames per bin."""
FOOT = STRIP_TOP + STRIP
WIDTH, HEIGHT = LEFT + SIDE + 17, FOOT + 39
LEAST, MOST = 1.8, 6.5
"""Radius of a point without and with all of the frames."""


@dataclass(frozen=True)
class Panel:
    """One exit's diagram."""

    style: Style
    drawing: str


def shown_split(run: Run) -> str | None:
    """The split that the diagrams show: `test` where it was judged, else the first; None where nothing was."""
    splits = [r.split for e in run.manifest.exits for r in e.reliability]
    return "test" if "test" in splits else next(iter(splits), None)


def reliability_panels(run: Run) -> tuple[Panel, ...]:
    """The diagram of every exit that was judged on `shown_split`, all with one scale of frames."""
    split = shown_split(run)
    found = [(e, r) for e in run.manifest.exits for r in e.reliability if r.split == split]
    most = max((b.n for _, r in found for b in (*r.bins_before, *r.bins_after)), default=0)
    return tuple(Panel(run.styles[e.name], _draw(e, r, run.styles[e.name], max(1, most))) for e, r in found)


def _draw(exit_: Exit, judged: Reliability, style: Style, most: int) -> str:
    told = (
        f"Exit {exit_.name} on {judged.n:,} frames of the {judged.split} split: expected calibration error "
        f"{share(judged.before)} before, {share(judged.after)} after"
    )
    root = svg.picture("panel", told, WIDTH, HEIGHT)
    _axes(root, most)
    svg.path(root, f"M{LEFT} {TOP + SIDE}L{LEFT + SIDE} {TOP}", "even")
    # Before on top: its rings are hollow and hide nothing.
    for bins, kind, colour in ((judged.bins_after, "after", style.colour), (judged.bins_before, "before", INK)):
        _counts(root, bins, kind, colour, most)
        _points(root, bins, kind, colour, max(1, judged.n))
    _tips(root, judged)
    return ET.tostring(root, encoding="unicode")


def _axes(root: ET.Element, most: int) -> None:
    for value in (0.0, 0.5, 1.0):
        x, y = LEFT + value * SIDE, TOP + (1 - value) * SIDE
        svg.path(root, f"M{LEFT} {px(y)}h{SIDE}M{px(x)} {TOP}v{SIDE}", "grid")
        svg.text(root, f"{value:.0%}", LEFT - 6, y + 4, anchor="end")
        svg.text(root, f"{value:.0%}", x, FOOT + 17, anchor="middle")
    decades = range(math.floor(math.log10(most)) + 1)
    for decade in decades:
        svg.path(root, f"M{LEFT} {px(FOOT - _height(10**decade, most))}h{SIDE}", "grid")
    for decade in sorted({0, decades[-1]}):
        svg.text(root, f"{10**decade:,}", LEFT - 6, FOOT - _height(10**decade, most) + 3, anchor="end")
    svg.path(root, f"M{LEFT} {TOP}V{TOP + SIDE}H{LEFT + SIDE}M{LEFT} {STRIP_TOP}V{FOOT}H{LEFT + SIDE}", "axis")
    svg.text(root, "stated probability", LEFT + SIDE / 2, FOOT + 33, anchor="middle")
    for words, y in (("right", TOP + SIDE / 2), ("frames", STRIP_TOP + STRIP / 2)):
        svg.text(root, words, 0, 0, "upright", "middle").set("transform", f"translate(11 {px(y)}) rotate(-90)")


def _height(n: int, most: int) -> float:
    """Of a bar: logarithmic, because most frames lie in the last bin, with a foot that lets one frame be seen."""
    return STRIP * math.log10(2 * n) / math.log10(2 * max(10, most)) if n else 0.0


def _counts(root: ET.Element, bins: tuple[ReliabilityBin, ...], kind: str, colour: str, most: int) -> None:
    """A bar of each bin's frames, before in its left half and after in its right."""
    for b in bins:
        if b.n:
            half = SIDE * (b.high - b.low) / 2
            x = LEFT + SIDE * b.low + (half if kind == "after" else 0)
            height = _height(b.n, most)
            place = {"x": px(x + 0.7), "y": px(FOOT - height), "width": px(half - 1.4), "height": px(height)}
            ET.SubElement(root, "rect", {"class": kind, "style": f"--of:{colour}"} | place)


def _points(root: ET.Element, bins: tuple[ReliabilityBin, ...], kind: str, colour: str, total: int) -> None:
    """The bins that have frames, the larger the more; no line joins them, as it would make bins of one frame loud."""
    for b in bins:
        if b.n:
            radius = LEAST + (MOST - LEAST) * math.sqrt(b.n / total)
            place = {"cx": px(LEFT + SIDE * b.stated), "cy": px(TOP + SIDE * (1 - b.right)), "r": px(radius)}
            ET.SubElement(root, "circle", {"class": kind, "style": f"--of:{colour}"} | place)


def _tips(root: ET.Element, judged: Reliability) -> None:
    """What the pointer reads over a bin."""
    for before, after in zip(judged.bins_before, judged.bins_after, strict=False):
        if before.n or after.n:
            x, width = LEFT + SIDE * before.low, SIDE * (before.high - before.low)
            place = {"x": px(x), "y": px(TOP), "width": px(width), "height": px(FOOT - TOP)}
            tip = ET.SubElement(root, "rect", {"class": "tip"} | place)
            lines = [f"stated {share(before.low)} to {share(before.high)}", _told("before", before)]
            ET.SubElement(tip, "title").text = "\n".join([*lines, _told("after", after)])


def _told(when: str, found: ReliabilityBin) -> str:
    if not found.n:
        return f"{when}: no frames"
    frames = f"{found.n:,} frame{'s' if found.n != 1 else ''}"
    return f"{when}: {frames}, stated {share(found.stated)}, right {share(found.right)}"
