"""What loaded engines hold in memory."""

from __future__ import annotations

from jetson.record import Record


class UnitMemory(Record, frozen=True, kw_only=True):
    """One unit's share, bytes."""

    unit: str
    engine: int
    """The serialised engine: weights and code."""
    scratch: int
    """That it asks for while it runs."""
    output: int


class MemoryUse(Record, frozen=True, kw_only=True):
    """What all units hold together, bytes.

    Not in it, since TensorRT and CUDA tell nobody: the process's CUDA context, and what an engine keeps beside its
    weights (loaded kernels, recorded graphs).
    """

    units: tuple[UnitMemory, ...]
    scratch: int
    """The one block that all share."""
    tokens: int
    """The buffers that segments use in turn."""
    outputs: int
    """Of the branches."""
    input: int
    """Of the first segment."""
    staging: int
    """Input and outputs once more, page-locked on the host; 0 where the device reaches the host's memory itself."""

    @property
    def engines(self) -> int:
        """All serialised engines."""
        return sum(u.engine for u in self.units)

    @property
    def total(self) -> int:
        """All of it."""
        return self.engines + self.scratch + self.tokens + self.outputs + self.input + self.staging

    @property
    def unshared(self) -> int:
        """What it would be with scratch and output memory of its own for each unit."""
        return self.engines + sum(u.scratch + u.output for u in self.units) + self.input + self.staging
