"""Where the blocks of the diagram stand: segments left to right, the exits of a cut below it.

Exits behind one layer are stacked; where the width allows, a tall stack becomes two or more columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.report.gather import Run

TARGET = 1220
"""Width in CSS pixels that the diagram tries to keep; with more blocks than fit it grows and scrolls."""
LEFT = 82
GAP = 16
COLUMN_GAP = 18
LINE_GAP = 12
"""From a block to a line that passes it."""
SEGMENT_WIDTH = (72, 260)
BRANCH_WIDTH = (86, 150)
TOP = 40
SEGMENT_HEIGHT = 90
BUS = 16
"""From a segment's foot down to the line that spreads to the branches."""
DROP = 14
BRANCH_HEIGHT = 90
BRANCH_STEP = BRANCH_HEIGHT + 10
FIRST_BRANCH = TOP + SEGMENT_HEIGHT + BUS + DROP
EDGE = 8
PADDING = 9
MARK = 17
"""From the edge of an exit's mark to its name."""


@dataclass(frozen=True)
class Box:
    """A block."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The x of its middle."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Group:
    """The exits that hang from one cut, column by column."""

    cut: float
    bus: float
    """The y of the line that spreads to the columns."""
    columns: tuple[tuple[tuple[int, Box], ...], ...]
    """Per column the places of its exits in the manifest, with their blocks."""


@dataclass(frozen=True)
class Plan:
    """The whole geometry."""

    width: float
    height: float
    segments: tuple[Box, ...]
    groups: tuple[Group, ...]


def plan(run: Run) -> Plan:
    """Place every segment and exit of the run's bundle."""
    manifest = run.manifest
    place = {s.name: i for i, s in enumerate(manifest.segments)}
    hanging: list[list[int]] = [[] for _ in place]
    for index, exit_ in enumerate(manifest.exits):
        hanging[place[exit_.units[-2]]].append(index)
    longest = max(text_width(e.name, 12, bold=True) for e in manifest.exits)
    branch = min(BRANCH_WIDTH[1], max(BRANCH_WIDTH[0], longest + MARK + 2 * PADDING))
    columns, tiers = _columns([len(h) for h in hanging], branch)
    cuts = _cuts(columns, tiers, branch)
    lower = BRANCH_STEP * max((len(h) for h, tier in zip(hanging, tiers, strict=True) if not tier), default=0)
    tops = [FIRST_BRANCH + tier * (lower + BRANCH_STEP / 8) for tier in tiers]
    edges = itertools.pairwise([LEFT - GAP / 2, *cuts])
    segments = tuple(Box(a + GAP / 2, TOP, b - a - GAP, SEGMENT_HEIGHT) for a, b in edges)
    groups = [_group(*each, branch) for each in zip(cuts, hanging, columns, tops, strict=True) if each[1]]
    blocks = [box for g in groups for column in g.columns for _, box in column]
    return Plan(
        width=max(b.x + b.width for b in (*segments, *blocks)) + EDGE,
        height=max(b.y + b.height for b in (*segments, *blocks)) + EDGE,
        segments=segments,
        groups=tuple(groups),
    )


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide `text` is; a wide system font is assumed."""
    return (0.66 if bold else 0.6) * size * len(text)


def _span(columns: int, branch: float) -> float:
    return columns * branch + (columns - 1) * COLUMN_GAP if columns else 0


def _least(columns: Sequence[int], tiers: Sequence[int], branch: float) -> list[float]:
    """The leftmost place of every cut at which no two blocks meet and no line crosses a block."""
    cuts: list[float] = []
    for i, (n, tier) in enumerate(zip(columns, tiers, strict=True)):
        x = (cuts[-1] if cuts else LEFT - GAP / 2) + SEGMENT_WIDTH[0] + GAP
        if n:
            x = max(x, LEFT + _span(n, branch) / 2 + COLUMN_GAP)
            for before in range(i):
                if columns[before] and tiers[before] == tier:
                    x = max(x, cuts[before] + (_span(columns[before], branch) + _span(n, branch)) / 2 + COLUMN_GAP)
                elif columns[before]:
                    x = max(x, cuts[before] + branch / 2 + LINE_GAP)
        cuts.append(x)
    return cuts


def _total(columns: Sequence[int], tiers: Sequence[int], branch: float) -> float:
    return _least(columns, tiers, branch)[-1] + max(GAP, _span(columns[-1], branch) / 2) + EDGE


def _columns(counts: list[int], branch: float) -> tuple[list[int], list[int]]:
    """How many columns each cut's exits take, and on which of two tiers they hang.

    The tallest stack is split as long as the diagram keeps its width. Where even single columns side by side are too
    wide, every other cut hangs its exits lower.
    """
    columns = [min(1, n) for n in counts]
    flat = [0] * len(counts)
    if _total(columns, flat, branch) > TARGET:
        turn = itertools.cycle((0, 1))
        return columns, [next(turn) if n else 0 for n in counts]
    while True:
        rows = [math.ceil(n / c) if c else 0 for n, c in zip(counts, columns, strict=True)]
        tallest = rows.index(max(rows))
        wider = [c + (i == tallest) for i, c in enumerate(columns)]
        if rows[tallest] < 2 or _total(wider, flat, branch) > TARGET:
            return columns, flat
        columns = wider


def _cuts(columns: list[int], tiers: list[int], branch: float) -> list[float]:
    """The places of the cuts, moved apart to use the width there is."""
    least = _least(columns, tiers, branch)
    spare = max(0.0, TARGET - _total(columns, tiers, branch)) / len(least)
    steps = [b - a for a, b in itertools.pairwise([LEFT - GAP / 2, *least])]
    widest = SEGMENT_WIDTH[1] + GAP
    moved = itertools.accumulate((s + min(spare, max(0, widest - s)) for s in steps), initial=LEFT - GAP / 2)
    return list(moved)[1:]


def _group(cut: float, exits: list[int], columns: int, top: float, branch: float) -> Group:
    left = cut - _span(columns, branch) / 2
    rows = math.ceil(len(exits) / columns)
    placed: list[tuple[tuple[int, Box], ...]] = []
    for column in range(columns):
        members = exits[column * rows : (column + 1) * rows]
        x = left + column * (branch + COLUMN_GAP)
        boxes = (Box(x, top + row * BRANCH_STEP, branch, BRANCH_HEIGHT) for row in range(len(members)))
        if members:
            placed.append(tuple(zip(members, boxes, strict=True)))
    return Group(cut=cut, bus=top - DROP, columns=tuple(placed))
