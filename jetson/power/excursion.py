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

    While it changes back, no signal interrupts it; what came then is dealt with afterwards.

    Args:
        tool: changes modes.
        before: the mode to go back to.
        told: called when it holds again.

    Raises:
        WorkFailed: the mode does not hold again; the message says what to do by hand.
    """
    with _hangups():
        try:
            yield
        finally:
            with _uninterrupted():
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


@contextlib.contextmanager
def _hangups() -> Iterator[None]:
    """Take SIGHUP, which would end us on the spot, for SIGTERM or Ctrl-C; not where it is ignored, as under nohup."""
    number = getattr(signal, "SIGHUP", None)
    main = threading.current_thread() is threading.main_thread()
    if number is None or not main or signal.getsignal(number) == signal.SIG_IGN:
        yield
        return

    def hang_up(_: int, frame: FrameType | None) -> None:
        end = signal.getsignal(signal.SIGTERM)
        if callable(end):
            end(signal.SIGTERM, frame)
        else:
            raise KeyboardInterrupt

    before = signal.signal(number, hang_up)
    try:
        yield
    finally:
        signal.signal(number, before or signal.SIG_DFL)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold signals back until the block has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, Any]] = []
    numbers = [number for name in ENDS if (number := getattr(signal, name, None)) is not None]
    before = {n: signal.signal(n, lambda number, frame: came.append((number, frame))) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number, _ in came[:1]:
            signal.raise_signal(number)
