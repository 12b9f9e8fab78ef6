"""What every chart shares: it is SVG, drawn once for a wide screen and once for a phone.

The page shows the one that fits. Both are in it, so that neither light nor dark, nor paper, nor a turned phone, nor a
reader without scripts needs anything drawn anew; colours are the page's custom properties.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toolkit.report import svg
from toolkit.report.palette import Style
from toolkit.report.svg import px


@dataclass(frozen=True)
class Size:
    """One of the two sizes, in CSS pixels."""

    kind: str
    width: float
    left: float
    """Of the plot, where its upright axis stands,"""
    right: float
    """and where the plot ends."""

    @property
    def small(self) -> bool:
        """Whether it is a phone's."""
        return self.kind == "at-narrow"


WIDE = Size("at-wide", 1000, 64, 980)
NARROW = Size("at-narrow", 380, 46, 370)


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        name: the id of its element.
        told: what it shows, for who cannot see it.
        drawings: as text, in both sizes.
        keys: the exits its legend names; a key switches on and off what is drawn with `data-of` its group.
    """

    name: str
    told: str
    drawings: tuple[str, ...]
    keys: Sequence[Style] = field(default=())


def chart(name: str, told: str, draw: Callable[[Size], ET.Element], keys: Sequence[Style] = ()) -> Chart:
    """Draw a chart in both sizes."""
    drawings = tuple(ET.tostring(draw(size), encoding="unicode") for size in (WIDE, NARROW))
    return Chart(name, told, drawings, keys)


def canvas(size: Size, height: float, told: str) -> ET.Element:
    """An empty chart."""
    return svg.picture(f"chart {size.kind}", told, size.width, height)


def group(root: ET.Element, of: str = "", tip: str = "") -> ET.Element:
    """A part of a chart.

    Args:
        root: to which it is added.
        of: the group of the key that switches it on and off.
        tip: what the pointer reads over it.
    """
    part = ET.SubElement(root, "g", {"data-of": of} if of else {})
    if tip:
        ET.SubElement(part, "title").text = tip
    return part


def mark(root: ET.Element, style: Style, x: float, y: float, size: float = 1.0) -> None:
    """An exit's mark."""
    move = f"translate({px(x - 6 * size)} {px(y - 6 * size)})" + (f" scale({size:g})" if size != 1.0 else "")
    ET.SubElement(root, "path", {"class": "spot", "d": style.path, "transform": move, "style": f"fill:{style.colour}"})


def bar(root: ET.Element, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> None:
    """A filled block."""
    place = {"x": px(x), "y": px(y), "width": px(max(0.0, width)), "height": px(max(0.0, height))}
    looks = f"fill:{colour}" + (f";opacity:{opacity:g}" if opacity < 1.0 else "")
    ET.SubElement(root, "rect", place | {"style": looks})


def reach(root: ET.Element, x: float, y: float, width: float, height: float) -> None:
    """Room in which the pointer finds a part, though nothing is drawn there."""
    place = {"x": px(x), "y": px(y), "width": px(width), "height": px(height), "class": "tip"}
    ET.SubElement(root, "rect", place)
