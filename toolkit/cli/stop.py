"""Ctrl-C and SIGTERM unwind the command, so that nothing half written stays; not in the middle of an import."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

AGAIN_S = 0.05
"""After which a signal that came during an import is looked at again."""


class Terminated(BaseException):
    """SIGTERM came."""


@contextlib.contextmanager
def clean_stop() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at Ctrl-C and `Terminated` at SIGTERM, as soon as that is safe.

    Not where `accelerate launch` started us: there a process may sit in a collective call that only the signal ends.
    A signal that is ignored, as Ctrl-C is by a shell's background job, stays ignored.
    """
    if "LOCAL_RANK" in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
    before = {n: signal.getsignal(n) for n in stops}
    mended = [n for n in stops if n == signal.SIGTERM or before[n] is signal.default_int_handler]
    waiting: list[threading.Timer] = []
    for number in mended:
        signal.signal(number, _handler(stops[number], waiting))
    try:
        yield
    finally:
        for number in mended:
            signal.signal(number, before[number] or signal.SIG_DFL)
        for timer in waiting:
            timer.cancel()


def _handler(error: type[BaseException], waiting: list[threading.Timer]) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        waiting[:] = [timer for timer in waiting if timer.is_alive()]
        if not importing(frame):
            raise error
        timer = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
        timer.daemon = True
        waiting.append(timer)
        timer.start()

    return stop


def importing(frame: FrameType | None) -> bool:
    """Whether a frame lies within an import.

    Compiled modules of PyTorch's and SciPy's crash the process when an exception comes up while they are set up.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False
