"""Notice that the power mode has changed, without asking nvpmodel all the time, which starts a process each time.

What a mode sets can be read in microseconds: the number that nvpmodel keeps of it, the cores that are on, and how far
clocks may go. Only when one of these is another than before, nvpmodel is asked which mode it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from jetson.power import nvpmodel
from jetson.sysfiles import read_text

LOOK_S = 1.0
"""Between two looks,"""
BLIND_LOOKS = 30
"""and how many of them pass before nvpmodel is asked where there is nothing to look at, as in a container."""
ROOT = Path("/")
SIGNS = (
    "var/lib/nvpmodel/status",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq",
    "sys/class/devfreq/*/max_freq",
)
"""`pmode:0002` with a fan's mode behind it or not; `0-5`; kilohertz; hertz."""


def signs() -> tuple[str | None, ...]:
    """What a power mode sets, as it stands now."""
    return tuple(read_text(file) for pattern in SIGNS for file in sorted(ROOT.glob(pattern)))


class ModeWatch:
    """Looks again and again, in a thread of its own."""

    def __init__(self, mode: str, changed: Callable[[str], None], look_s: float = LOOK_S) -> None:
        """Begin.

        Args:
            mode: that holds now.
            changed: told of every other mode that holds from then on, in the watching thread.
            look_s: between two looks.
        """
        self._mode, self._changed, self._look_s = mode, changed, look_s
        self._seen, self._blind = signs(), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        seen = signs()
        self._blind = 0 if seen else self._blind + 1
        if seen == self._seen and self._blind < BLIND_LOOKS:
            return
        self._blind = 0
        mode = nvpmodel.current()
        if mode is None:  # it is being changed, or the machine is too busy to tell: at the next look again
            return
        # Signs of before it was asked: what changed meanwhile is seen at the next look.
        self._seen = seen
        if mode != self._mode:
            self._mode = mode
            self._changed(mode)

    def _watch(self) -> None:
        while not self._over.wait(self._look_s):
            self.look()
