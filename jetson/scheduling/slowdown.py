"""How much slower the device is now than when it was profiled."""

from __future__ import annotations

import math


class SlowdownFilter:
    """A robust filter on the logarithm of measured over profiled time, fed by every unit that runs.

    One outlier is ignored: what enters is the median of the last three ratios. A lasting change is followed at the
    rate `gain` per unit, within the same inference.
    """

    LIMIT = math.log(100.0)

    def __init__(self, gain: float = 0.3) -> None:
        self.gain = gain
        self._log = 0.0
        self._last = (0.0, 0.0)

    @property
    def slowdown(self) -> float:
        """The present factor; 1 is as fast as profiled."""
        return math.exp(self._log)

    def observe(self, elapsed_ms: float, profiled_ms: float) -> None:
        """Take one unit's time and its profiled median, both in milliseconds; what is no time is skipped."""
        if not (elapsed_ms > 0.0 and profiled_ms > 0.0):
            return
        ratio = max(-self.LIMIT, min(self.LIMIT, math.log(elapsed_ms / profiled_ms)))
        a, b = self._last
        median = max(min(a, b), min(max(a, b), ratio))
        self._last = (b, ratio)
        self._log += self.gain * (median - self._log)
