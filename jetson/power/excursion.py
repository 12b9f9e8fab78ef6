"""Through several power modes and back: whatever happens, the mode that held before holds again."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from jetson.errors import WorkFailed
from jetson.power.nvpmodel import NvpModel, PowerMode

ENDS = ("SIGINT", "SIGTERM", "SIGHUP")
"""What ends a process from outside: Ctrl-C, `kill`, and a terminal or an SSH connection that goes away."""


@contextlib.contextmanager
def back_to(tool: NvpModel, before: PowerMode, told: Callable[[], object]) -> Iterator[None]:
    """Change back to a mode at the end of the block, however that comes.

    The first signal ends the block as it would without us. From then on, and while it changes back, further ones wait.

    Args:
        tool: changes modes.
        before: the mode to go back to.
        told: called when it holds again.

    Raises:
        WorkFailed: the mode does not hold again; the message says what to do by hand.
    """
    with _Signals() as signals:
        try:
            try:
                yield
            finally:
                signals.wait = True
        finally:  # also when a signal came in the line before this one
            _restore(tool, before)
            told()


def _restore(tool: NvpModel, before: PowerMode) -> None:
    try:
        tool.change(before)
    except WorkFailed as error:
        raise WorkFailed(
            f"power mode {before.name}, which held before, could not be restored ({error}); "
            f"change to it by hand: {tool.by_hand(before)}"
        ) from error


class _Signals:
    """Lets one signal through to whoever handled it before, and holds back those that come while `wait` is true."""

    def __init__(self) -> None:
        self.wait = False
        self._ended = False
        self._came: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            numbers = [number for name in ENDS if (number := getattr(signal, name, None)) is not None]
            # What is ignored stays so: SIGHUP under nohup, SIGINT in a shell's background job.
            self._before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
            for number in self._before:
                signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._came and not self._ended:
            signal.raise_signal(self._came[0])

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.wait:
            self._came.append(number)
            return
        try:
            self._pass_on(number, frame)
        except BaseException:
            self.wait = self._ended = True
            raise

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if number == getattr(signal, "SIGHUP", None) and not callable(handler):
            # By default it would end us on the spot.
            number, handler = signal.SIGTERM, self._before.get(signal.SIGTERM)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(number, frame)  # it may put the signal off, and send it again
