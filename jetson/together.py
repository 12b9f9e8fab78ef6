"""Several frames as one batch, straight to one exit: the way that `offramp profile` measures and `infer_many` takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jetson.answer import UnitRun
from jetson.engines import BatchEngines
from jetson.errors import EngineError, FrameError
from jetson.manifest import Manifest
from jetson.preprocessing import Preprocessor
from jetson.scheduling.budget import clock
from jetson.scheduling.paths import Paths
from jetson.walk import InHand, take


class Went(NamedTuple):
    """How a batch went; moments in seconds."""

    hands: list[InHand | EngineError]
    """Of each frame its answer, or that it is none."""
    ready: float
    """When the last frame was prepared."""
    ended: float
    """When the last answer was read."""
    trace: tuple[UnitRun, ...]
    """Of the batch; `start_ms` counts from its beginning."""


class UnfitFrame(Exception):
    """One frame of a batch cannot be prepared; nothing has run."""

    def __init__(self, place: int, error: FrameError) -> None:
        """Say which.

        Args:
            place: in the batch.
            error: what is wrong with it.
        """
        super().__init__(str(error))
        self.place, self.error = place, error


class Together:
    """Runs batches of one bundle."""

    def __init__(self, manifest: Manifest, engines: BatchEngines) -> None:
        """Put the parts together.

        Args:
            manifest: of the bundle.
            engines: its units, loaded for several frames.
        """
        paths = Paths.of(manifest)
        self.engines = engines
        self._ways = [(*paths.segments[:n], b) for n, b in zip(paths.stages, paths.branches, strict=True)]
        self._names = [u.name for u in manifest.units]
        self._exits = manifest.exits

    def way(self, exit_: int) -> tuple[int, ...]:
        """The units that run, by index."""
        return self._ways[exit_]

    def warm_up(self, size: int) -> None:
        """Run every unit once on so many frames: the first run takes longer."""
        for unit in range(len(self._names)):
            self.engines.run(unit, size)

    def run(self, preprocessor: Preprocessor, frames: Sequence[Any], exit_: int, began: float) -> Went:
        """Answer frames at one exit.

        Args:
            preprocessor: of the bundle.
            frames: what it takes.
            exit_: where all of them end.
            began: the moment from which times count.

        Raises:
            UnfitFrame: the first frame that does not fit; nothing has run.
            EngineError: a unit failed; no frame has an answer.
        """
        count, run = len(frames), self.engines.run
        pixels = self.engines.input(count)
        for place, frame in enumerate(frames):
            try:
                preprocessor(frame, pixels[place])
            except FrameError as error:
                raise UnfitFrame(place, error) from error
        boundary = ready = clock()
        ran: list[tuple[int, float, float, float]] = []
        way = self._ways[exit_]
        for unit in way:
            since = clock()
            run(unit, count)
            ran.append((unit, boundary, since, boundary := clock()))
        hands = [self._read(exit_, way[-1], place, count) for place in range(count)]
        ended = clock()
        ends = [r[3] for r in ran[:-1]] + [ended]  # reading the answers belongs to the branch
        trace = tuple(
            UnitRun(self._names[unit], (since - began) * 1e3, (done - since) * 1e3, (end - before) * 1e3)
            for (unit, before, since, done), end in zip(ran, ends, strict=True)
        )
        return Went(hands, ready, ended, trace)

    def close(self) -> None:
        """Free the engines."""
        self.engines.close()

    def _read(self, exit_: int, unit: int, place: int, count: int) -> InHand | EngineError:
        try:
            return take(self._exits[exit_], exit_, self._names[unit], self.engines.output(unit, count)[place])
        except EngineError as error:
            return error
