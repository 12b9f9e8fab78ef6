"""What several frames at once cost to each exit, measured in the rounds that measure one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.bundle import Bundle
from jetson.engines import Engines, load_batches
from jetson.errors import BadInput
from jetson.preprocessing import Preprocessor
from jetson.profiling.profile import MOST_TOGETHER, BatchLatency, ExitLatency, Sketch
from jetson.scheduling.budget import clock
from jetson.together import Together

LEAST = 10
"""Measurements of each batch to each exit."""


class BatchTimes:
    """Times of batches, gathered round by round; of each size one exit a round, in turn."""

    def __init__(self, bundle: Bundle, engines: Engines, sizes: Sequence[int], pixels: npt.NDArray[np.uint8]) -> None:
        """Load the units once more.

        Args:
            bundle: to measure.
            engines: of it, for one frame.
            sizes: frames at once.
            pixels: (n, height, width, channels): camera frames.

        Raises:
            BadInput: a size that cannot be used, or the engines or units take one frame at a time.
            EngineError: a unit cannot be loaded.
        """
        if not all(2 <= s <= MOST_TOGETHER for s in sizes) or len(set(sizes)) != len(sizes):
            raise BadInput(f"a batch has 2 to {MOST_TOGETHER} frames, and each size is given once")
        self.sizes = tuple(sorted(sizes))
        self._manifest = manifest = bundle.manifest
        self._preprocessor, self._pixels = Preprocessor(manifest.preprocessing), pixels
        self._together = Together(manifest, load_batches(bundle, engines, self.sizes[-1])) if sizes else None
        self._units: dict[int, dict[str, list[float]]] = {s: {u.name: [] for u in manifest.units} for s in self.sizes}
        self._in_turn: dict[int, list[list[float]]] = {s: [[] for _ in manifest.exits] for s in self.sizes}
        self._exits: dict[int, list[list[float]]] = {s: [[] for _ in manifest.exits] for s in self.sizes}

    @property
    def least_rounds(self) -> int:
        """Before there is enough of everything."""
        return LEAST * len(self._manifest.exits) if self.sizes else 0

    def measure(self, size: int, index: int, alone: Callable[[Any, int], object]) -> None:
        """One batch, and as many frames one after another; which comes first changes from round to round.

        Args:
            size: of it.
            index: of the round; negative ones are not counted.
            alone: answers one frame at an exit.
        """
        exit_ = index % len(self._manifest.exits)
        frames: list[Any] = [self._pixels[(index + place) % len(self._pixels)] for place in range(size)]
        for at_once in (True, False) if index // len(self._manifest.exits) % 2 else (False, True):
            if at_once:
                self._batch(frames, exit_, index >= 0)
                continue
            began = clock()
            for frame in frames:
                alone(frame, exit_)
            if index >= 0:
                self._in_turn[size][exit_].append((clock() - began) * 1e3)

    def _batch(self, frames: list[Any], exit_: int, counts: bool) -> None:
        assert self._together is not None
        began, size = clock(), len(frames)
        went = self._together.run(self._preprocessor, frames, exit_, began)
        if not counts:
            return
        self._exits[size][exit_].append((went.ended - began) * 1e3)
        for ran in went.trace:
            self._units[size][ran.unit].append(ran.end_to_end_ms)

    def found(self) -> tuple[BatchLatency, ...]:
        """All of it, by size."""
        return tuple(
            BatchLatency(
                frames=size,
                units={name: Sketch.of(times) for name, times in self._units[size].items()},
                exits=self._of(self._exits[size]),
                in_turn=self._of(self._in_turn[size]),
            )
            for size in self.sizes
        )

    def _of(self, times: list[list[float]]) -> tuple[ExitLatency, ...]:
        found = zip(self._manifest.exits, times, strict=True)
        return tuple(ExitLatency(name=e.name, end_to_end_ms=Sketch.of(t)) for e, t in found)

    def close(self) -> None:
        """Free the engines."""
        if self._together is not None:
            self._together.close()
