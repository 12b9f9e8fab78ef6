"""One colour, one mark and one dash per exit, the same in the diagram, the tables and every chart.

The colours are those of Okabe and Ito (2008), which stay apart for every common colour vision. They live in
colours.css as custom properties, once for light and once for dark; here they are only named. Black
and yellow are left out: each vanishes on one of the two backgrounds. After six exits the colours start again with
another mark.
"""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = 6
MARKS = (
    ("solid", "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z"),
    ("dash", "M6 .5L11.5 6L6 11.5L.5 6z"),
    ("dot", "M2 2h8v8h-8z"),
    ("dashdot", "M6 1L11.5 10.5H.5z"),
)
"""How a line is dashed, and the mark as a path in a 12 x 12 box."""

INK = "var(--ink)"
MUTED = "var(--muted)"
GRID = "var(--grid)"
SEGMENT = "var(--segment)"


@dataclass(frozen=True)
class Style:
    """How one exit looks. `colour` is a CSS expression; `group` names what a key switches."""

    name: str
    group: str
    colour: str
    dash: str
    path: str


def style_of(index: int, name: str) -> Style:
    """The look of the exit at place `index` of the manifest."""
    dash, path = MARKS[index // COLOURS % len(MARKS)]
    colour = f"var(--exit-{index % COLOURS})"
    return Style(name=name, group=f"exit-{index}", colour=colour, dash=dash, path=path)
