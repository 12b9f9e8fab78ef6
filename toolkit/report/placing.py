"""Names beside points: each where it covers no point, no error bar and no other name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIDES = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0))
REACHES = (0.0, 14.0, 28.0, 44.0, 62.0, 84.0, 108.0)
PASSES = 4
"""All are placed in turn, so many times, so that an early one can make way for a later one."""


@dataclass(frozen=True)
class Block:
    """A part of the picture that a name should not cover, and how much it costs per pixel if it does."""

    left: float
    top: float
    right: float
    bottom: float
    cost: float = 3.0

    def covered(self, other: Block) -> float:
        """The area that both have."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across * down if across > 0 and down > 0 else 0.0


@dataclass(frozen=True)
class Placed:
    """Where a name's middle stands, and whether it is so far off that a line should lead to its point."""

    x: float
    y: float
    box: Block
    far: bool


def place(
    points: Sequence[tuple[float, float]], widths: Sequence[float], size: float, inside: Block, others: Sequence[Block]
) -> list[Placed]:
    """Find room for a name beside each point.

    Args:
        points: x and y in pixels.
        widths: of the names.
        size: of their letters.
        inside: where names may stand.
        others: what else they should not cover.
    """
    obstacles = [*others, *(Block(x - 7, y - 7, x + 7, y + 7) for x, y in points)]
    found: list[Placed | None] = [None] * len(points)
    for _ in range(PASSES):
        for i, ((x, y), width) in enumerate(zip(points, widths, strict=True)):
            taken = [other.box for j, other in enumerate(found) if other is not None and j != i]
            found[i] = _nearest(x, y, width, size, inside, [*obstacles, *taken])
    return [f for f in found if f is not None]


def _nearest(x: float, y: float, width: float, size: float, inside: Block, obstacles: Sequence[Block]) -> Placed:
    best: tuple[float, Placed] | None = None
    for reach in REACHES:
        for dx, dy in SIDES:
            mx, my = x + dx * (reach + 9 + width / 2), y + dy * (reach + size)
            box = Block(mx - width / 2, my - 0.65 * size, mx + width / 2, my + 0.65 * size)
            beyond = max(0.0, inside.left - box.left, box.right - inside.right)
            beyond += max(0.0, inside.top - box.top, box.bottom - inside.bottom)
            cost = sum(o.cost * box.covered(o) for o in obstacles) + 60 * beyond + 2 * reach
            if best is None or cost < best[0]:
                best = cost, Placed(mx, my, box, reach > 0)
    assert best is not None
    return best[1]
