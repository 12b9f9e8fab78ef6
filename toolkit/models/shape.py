"""What lies between two layers of a backbone: a sequence of tokens on a grid, or a map."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TokenShape:
    """What a branch needs to know of what it reads."""

    width: int
    heads: int
    prefix: int
    """Tokens before the patches: the class token and any distillation or register tokens. 0 where there is none."""
    grid: tuple[int, int]
    """Rows and columns of the patches, or of the map's pixels."""
    map: bool = False
    """It is a map (batch, width, rows, columns), as a CNN has it, not tokens (batch, n, width)."""
    most: int | None = None
    """A branch that mixes tokens averages a grid with longer edges down to this; None where it takes all."""

    @property
    def count(self) -> int:
        """Length of the sequence."""
        return self.prefix + self.grid[0] * self.grid[1]

    @property
    def size(self) -> tuple[int, ...]:
        """Shape of the tensor, without the batch."""
        return (self.width, *self.grid) if self.map else (self.count, self.width)

    @property
    def steps(self) -> tuple[int, int]:
        """Over how many rows and columns a branch that mixes tokens takes each average."""
        rows, columns = (1 if self.most is None else -(-edge // self.most) for edge in self.grid)
        return rows, columns

    def averaged(self) -> TokenShape:
        """The shape after that averaging."""
        rows, columns = (-(-edge // step) for edge, step in zip(self.grid, self.steps, strict=True))
        return replace(self, grid=(rows, columns))


def as_pair(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width from a number or a pair."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
