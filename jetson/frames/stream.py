"""Frames of a reader, as they come."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from jetson.errors import DataError
from jetson.frames.arrival import Arrival
from jetson.frames.frame import Frame, Shot
from jetson.frames.inbox import Inbox
from jetson.scheduling.budget import clock

AHEAD = 4
"""Frames that are decoded before they are asked for,"""
KEPT = 32
"""and that may wait where none is dropped; then whoever gives them waits too."""
PATIENCE_S = 2.0
"""For a reader that is being closed. One that hangs in a driver is left to the end of the process."""
TOLD = 5
"""Images that cannot be read are named up to here, then counted."""


class Unreadable(DataError):
    """One image cannot be read; the next may be."""


class Reader(Protocol):
    """Gives images one after another."""

    @property
    def live(self) -> bool:
        """Whether they come by themselves, as a camera's do."""
        ...

    @property
    def count(self) -> int | None:
        """How many there are, where that is known."""
        ...

    @property
    def fps(self) -> float | None:
        """At what rate they were taken, where that is known."""
        ...

    @property
    def notice(self) -> str | None:
        """What the user should know of it at its end, e.g. that a file ended too soon."""
        ...

    def read(self) -> Shot | None:
        """The next image, waited for; None behind the last.

        Raises:
            Unreadable: there is one that cannot be decoded.
            WorkFailed: no more will come, though they should.
        """
        ...

    def close(self) -> None:
        """Let go of the file or the device."""
        ...


class Stream:
    """Frames in the order in which they come. It can be gone through once; use it in a `with`, or `close` it."""

    def __init__(
        self,
        reader: Reader,
        *,
        budget_ms: float | None = None,
        arrival: Arrival | None = None,
        every_frame: bool = False,
        beside: bool = True,
    ) -> None:
        """Put the parts together; most callers want `jetson.frames.open`.

        Args:
            reader: of the images.
            budget_ms: of every frame, from when it came.
            arrival: when they come, for a reader that is not live; None: whenever the one before has been answered.
            every_frame: give all of those that came, however late; else the newest.
            beside: read in a thread of its own, ahead of what is asked for. A live reader, and one whose frames
                come at moments, always is.
        """
        self.reader = reader
        self.budget_ms = budget_ms
        self.unreadable = 0
        """Images that could not be decoded."""
        self.remarks: list[str] = []
        """About them, the first few."""
        self.idle: Callable[[], None] | None = None
        """Called about once a second while no frame comes, by the thread that waits for one."""
        self._arrival = arrival
        self._comes = reader.live or arrival is not None
        places = KEPT if every_frame else 1
        self._inbox = Inbox(places if self._comes else AHEAD, drop=self._comes and not every_frame)
        self._beside = beside or self._comes
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._number = 0

    @property
    def live(self) -> bool:
        """Whether frames come by themselves until somebody ends it."""
        return self.reader.live

    @property
    def comes(self) -> bool:
        """Whether frames come at moments of their own, from which their budgets count."""
        return self._comes

    @property
    def dropped(self) -> int:
        """Frames that came and that nobody took."""
        return self._inbox.dropped

    @property
    def waiting(self) -> bool:
        """Whether the next frame has come."""
        return self._inbox.waiting or not self._comes

    @property
    def notice(self) -> str | None:
        """What the user should know of the source, once its frames have come to an end."""
        return self.reader.notice

    def __iter__(self) -> Iterator[Frame]:
        """Frames from here on.

        Raises:
            DataError: none of the images could be read.
            WorkFailed: a camera was lost.
        """
        if self._beside and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="frames", daemon=True)
            self._thread.start()
        return self._frames()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more, and let go of the file or the device."""
        self._stop.set()
        self._inbox.close()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                return  # it sits in a driver: what it holds cannot be taken from it
        self.reader.close()

    def _frames(self) -> Iterator[Frame]:
        while (frame := self._inbox.take(self.idle) if self._beside else self._next()) is not None:
            yield frame
        if self.unreadable and self.unreadable == self._number:
            raise DataError(self.remarks[0] + (f" (and {self.unreadable - 1} more)" if self.unreadable > 1 else ""))

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            while not self._stop.is_set() and (frame := self._next()) is not None:
                if frame.arrived is not None and (wait := frame.arrived - clock()) > 0 and self._stop.wait(wait):
                    break
                self._inbox.put(frame)
        except BaseException as found:  # is raised where frames are taken
            error = found
        self._inbox.end(error)

    def _next(self) -> Frame | None:
        """The next frame that can be read, and when it comes."""
        while not self._stop.is_set():
            began, number = clock(), self._number
            try:
                shot = self.reader.read()
            except Unreadable as found:
                self._number += 1
                self.unreadable += 1
                if len(self.remarks) < TOLD:
                    self.remarks.append(str(found))
                continue
            if shot is None:
                return None
            self._number += 1
            came = shot.came
            if self._arrival is not None and not self.reader.live:
                came = self._arrival.of(number, shot.source_ms, began, clock())
            return Frame(
                image=shot.image,
                number=number,
                arrived=came if self._comes else None,
                budget_ms=self.budget_ms,
                source_ms=shot.source_ms,
                name=shot.name,
                target=shot.target,
            )
        return None


def period_ms(fps: float) -> float:
    """The time between frames.

    Raises:
        DataError: this is no rate.
    """
    if not (math.isfinite(fps) and 0.001 <= fps <= 1e5):
        raise DataError(f"{fps:g} frames a second is no rate; give e.g. 30")
    return 1e3 / fps
