"""When the frames of a file come, as if a camera gave them."""

from __future__ import annotations

import math


class Arrival:
    """The moments at which frames of a file come, at its own times or at an even rate.

    Nobody can answer what has not been decoded, so a frame comes no sooner after the one before than decoding it takes.
    That others kept the decoding thread waiting is no reason for coming late.
    """

    def __init__(self, fps: float, own_times: bool = False) -> None:
        """Begin before the first frame.

        Args:
            fps: frames a second, where the file does not say when each was taken.
            own_times: whether the file's times count.
        """
        self._period, self._own_times = 1.0 / fps, own_times
        self._first: tuple[float, float] | None = None
        self._last = -math.inf

    def of(self, number: int, source_ms: float | None, began: float, decoded: float) -> float:
        """When this frame comes, in seconds; never before the one before it.

        Args:
            number: of the frame in its file.
            source_ms: its time there, if it has one.
            began: when decoding it began, in seconds,
            decoded: and when it was done.
        """
        time = number * self._period
        if self._own_times and source_ms is not None and math.isfinite(source_ms):
            time = source_ms / 1e3
        if self._first is None:
            # The first comes as soon as it is there, wherever in the file it lies.
            self._first = decoded, time
        start, offset = self._first
        self._last = max(start + time - offset, self._last + (decoded - began))
        return self._last
