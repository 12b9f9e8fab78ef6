"""What loaded engines hold in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UnitMemory:
    """One unit's share, bytes."""

    unit: str
    engine: int
    """The serialised engine: weights and code."""
    scratch: int
    """That it asks for while it runs."""
    output: int


@dataclass(frozen=True)
class MemoryUse:
    """What all units hold together, bytes."""

    units: tuple[UnitMemory, ...]
    scratch: int
    """The one block that all share."""
    tokens: int
    """The two buffers that segments use in turn."""
    outputs: int
    """Of the branches, and the input."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(u.engine for u in self.units) + self.scratch + self.tokens + self.outputs

    @property
    def unshared(self) -> int:
        """What it would be with scratch and output memory of its own for each unit."""
        return sum(u.engine + u.scratch + u.output for u in self.units)
