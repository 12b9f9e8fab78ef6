"""What lies between the thread that frames come in and the one that answers them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from jetson.frames.frame import Frame

IDLE_S = 1.0
"""Without a frame, after which whoever waits is told so."""


class Inbox:
    """Frames that came and have not been taken yet. One thread puts, another takes."""

    def __init__(self, places: int, drop: bool) -> None:
        """Begin empty.

        Args:
            places: frames that it holds.
            drop: when it is full, let the oldest go; else whoever puts waits.
        """
        self._places, self._drop = places, drop
        self._held: deque[Frame] = deque()
        self._change = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._lost = 0
        self.dropped = 0
        """In all."""

    @property
    def waiting(self) -> bool:
        """Whether a frame is there."""
        return bool(self._held)

    def put(self, frame: Frame) -> None:
        """A frame came."""
        with self._change:
            if self._drop:
                while len(self._held) >= self._places:
                    self._held.popleft()
                    self._lost += 1
                    self.dropped += 1
            else:
                self._change.wait_for(lambda: len(self._held) < self._places or self._closed)
            if not self._closed:
                self._held.append(frame)
                self._change.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more will come; `error` says why, and is for whoever takes."""
        with self._change:
            self._ended, self._error = True, error
            self._change.notify_all()

    def take(self, idle: Callable[[], None] | None = None) -> Frame | None:
        """The next frame, waited for; None when all have been taken and no more will come.

        Args:
            idle: called about once a second while there is none.

        Raises:
            BaseException: what `end` was given.
        """
        while True:
            with self._change:
                if self._change.wait_for(lambda: self._held or self._ended or self._closed, IDLE_S):
                    return self._taken()
            if idle is not None:
                idle()

    def _taken(self) -> Frame | None:
        if not self._held:
            if self._error is not None:
                raise self._error
            return None
        frame = replace(self._held.popleft(), dropped=self._lost)
        self._lost = 0
        self._change.notify_all()
        return frame

    def close(self) -> None:
        """Nobody takes any more; who waits goes on."""
        with self._change:
            self._closed = True
            self._held.clear()
            self._change.notify_all()
