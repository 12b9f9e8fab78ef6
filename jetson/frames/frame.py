"""A frame, and what is known about when it came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.scheduling.budget import Budget


class Shot(NamedTuple):
    """An image as a reader gives it."""

    image: npt.NDArray[np.uint8]
    """Height x width x channels, RGB or grey."""
    source_ms: float | None = None
    """When it was taken, on the source's own clock; None where it has none."""
    name: str | None = None
    """Of its file."""
    target: Any = None
    """What is right for it, where that is known."""
    came: float | None = None
    """When it was there, in seconds on `clock`, of a source that has a time of its own; None of a file."""


@dataclass(frozen=True, eq=False)
class Frame:
    """An image and the time that its answer may take."""

    image: npt.NDArray[np.uint8]
    """Height x width x channels, RGB or grey."""
    number: int
    """In its source, counted from 0; those that were dropped or could not be read count."""
    arrived: float | None = None
    """When it was there, in seconds on the clock of `time.monotonic()`. None where it was there all along, as a file
    is: its time then counts from its turn."""
    budget_ms: float | None = None
    """From then on; None for no limit."""
    dropped: int = 0
    """Frames that came since the one before, and that nobody took."""
    source_ms: float | None = None
    """When it was taken, on the source's own clock: the place in a video."""
    name: str | None = None
    """Of its file."""
    target: Any = None
    """What is right for it, where that is known."""

    @property
    def budget(self) -> Budget:
        """What `Runtime.infer` takes."""
        if self.budget_ms is None or self.budget_ms == math.inf:
            return Budget.unbounded()
        if self.arrived is None:
            return Budget.within(self.budget_ms)
        return Budget.until(self.arrived + self.budget_ms / 1e3)
