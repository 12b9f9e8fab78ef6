"""Pieces of a picture that needs no script: an SVG built as a tree, so that every name in it is escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET


def picture(kind: str, told: str, width: float, height: float) -> ET.Element:
    """An empty picture of that size in CSS pixels.

    Args:
        kind: its class; the page's styles say how what is in it looks.
        told: what it shows, for who cannot see it.
        width: of the drawing.
        height: of the drawing.
    """
    size = {"width": px(width), "height": px(height), "viewBox": f"0 0 {px(width)} {px(height)}"}
    return ET.Element("svg", {"class": kind, "role": "img", "aria-label": told} | size)


def text(root: ET.Element, words: str, x: float, y: float, kind: str = "", anchor: str = "start") -> ET.Element:
    """Words at a place; `anchor` says which end of them is there."""
    place = {"x": px(x), "y": px(y), "text-anchor": anchor}
    element = ET.SubElement(root, "text", place | ({"class": kind} if kind else {}))
    element.text = words
    return element


def path(root: ET.Element, d: str, kind: str, style: str = "") -> None:
    """A line."""
    ET.SubElement(root, "path", {"class": kind, "d": d} | ({"style": style} if style else {}))


def px(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
