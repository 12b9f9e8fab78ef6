"""Readings of a board's sensors, taken in the background while something else works."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from jetson.scheduling.budget import clock
from jetson.telemetry.reading import Reading

KEPT = 1 << 16
"""Readings; an hour and a half of the quickest source."""
FIRST_S = 3.0
"""A source that has told nothing by then has nothing to tell."""


class Source(Protocol):
    """Something that tells of the board again and again."""

    name: str
    interval_s: float

    def begin(self, recorder: Recorder) -> None:
        """Start giving readings to `recorder.take`, from a thread of its own."""
        ...

    def end(self) -> None:
        """Stop; nothing is given afterwards."""
        ...


class Recorder:
    """What a source told, from when it was begun until it is closed."""

    def __init__(self, source: Source) -> None:
        """Begin.

        Args:
            source: to listen to; `close` ends it.
        """
        self.source = source
        self._readings: deque[Reading] = deque(maxlen=KEPT)
        self._news = threading.Condition()
        self._over = False
        source.begin(self)

    def take(self, reading: Reading) -> None:
        """A source has read the sensors."""
        with self._news:
            self._readings.append(reading)
            self._news.notify_all()

    def over(self) -> None:
        """The source has ended by itself, and will tell nothing more."""
        with self._news:
            self._over = True
            self._news.notify_all()

    def next(self) -> Reading | None:
        """The first reading from now on; None when none comes in time."""
        since = clock()
        with self._news:
            self._news.wait_for(
                lambda: self._over or (bool(self._readings) and self._readings[-1].at >= since), FIRST_S
            )
            return next((r for r in self._readings if r.at >= since), None)

    def between(self, start: float, end: float) -> list[Reading]:
        """Readings from `start` to `end`, moments on `jetson.scheduling.budget.clock`."""
        with self._news:
            return [r for r in self._readings if start <= r.at <= end]

    def close(self) -> None:
        """End the source."""
        self.source.end()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
