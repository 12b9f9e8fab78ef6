"""How much slower the device is now than when it was profiled.

A filter on the logarithm of measured over profiled time, in the manner of Kalman (1960) with two changes for what
devices do: one surprising unit is held for a spike and hardly counts; two in a row that surprise in the same direction
are a change of pace, and the filter goes there at once. Each unit counts by how steady it was when profiled.

The estimate always lies between the smallest and the largest logarithm that was put in (and 0), so a step in pace
is followed without overshooting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jetson.profiling.profile import LEVELS, Sketch
from jetson.scheduling.memory import (
    BEGAN,
    BOOST,
    DEADLINE,
    FIRST,
    HELD,
    IDLE,
    LEVEL,
    LOG,
    PAUSE,
    PAUSES,
    PENDING_MS,
    PROFILED,
    RAN_MS,
    SEEN,
    SPREAD,
    STALLED,
    STALLED_MS,
    STREAK,
    TOOK,
    VARIANCE,
    blank,
)

LIMIT = math.log(100.0)
DRIFT = 2e-4
"""Variance that the logarithm gains from unit to unit."""
SETTLED_VARIANCE = 5e-4
"""What is left of the filter's own variance on a steady device."""
SURPRISE = 3.0
"""Standard deviations from which a unit is a surprise."""
LEAST_NOISE = 0.03
"""No unit is steadier than this; a standard deviation of the logarithm."""
RATE = 0.01
"""Of the slow mean that notices another power mode; per unit."""
SETTLED = 300
"""Units before that is spoken of."""
ANOTHER_MODE = math.log(1.25)
STEADY = 0.12

FORGET_STALLS = 0.97
"""What stalls of a frame count when the next one has ended; half after 23 frames."""

Memory = npt.NDArray[np.float64]


def noise(sketch: Sketch) -> float:
    """Variance of the logarithm of a unit's time, from its quantiles at 16 % and 84 %."""
    low, high = float(sketch.quantile(0.16)), float(sketch.quantile(0.84))
    deviation = (math.log(high) - math.log(low)) / 2 if low > 0.0 else LEAST_NOISE
    return max(deviation, LEAST_NOISE) ** 2


def usual_stalls(sketches: Sequence[Sketch]) -> float:
    """How often a unit would be taken for stalled on the device as profiled; per millisecond of all units' medians."""
    chance = 0.0
    for sketch in sketches:
        limit = sketch.median * math.exp(SURPRISE * math.sqrt(noise(sketch) + SETTLED_VARIANCE))
        chance += 1.0 - float(np.interp(limit, sketch.quantiles, LEVELS, left=0.0, right=1.0))
    return chance / max(sum(s.median for s in sketches), 1e-9)


def forget_stalls(memory: Memory) -> None:
    """A frame has ended: what was seen before counts a little less."""
    memory[STALLED] *= FORGET_STALLS
    memory[STALLED_MS] *= FORGET_STALLS
    memory[RAN_MS] *= FORGET_STALLS


def pause_of(gap_ms: float) -> int:
    """Which kind of pause this is: under 1 ms, 10 ms, 100 ms, 1 s, or longer."""
    kind, limit = 0, 1.0
    while kind < PAUSES - 1 and gap_ms >= limit:
        kind += 1
        limit *= 10.0
    return kind


def begin_pause(memory: Memory, gap_ms: float) -> None:
    """A frame begins, so long after the last answer."""
    kind = pause_of(gap_ms)
    memory[PAUSE] = kind
    memory[BOOST] = memory[IDLE + kind]
    memory[FIRST] = 1.0
    memory[PROFILED] = 0.0
    memory[BEGAN] = memory[LOG]
    memory[TOOK] = 0.0
    memory[DEADLINE] = -1.0


def log_slowdown(memory: Memory) -> float:
    """The present estimate for the unit that runs next."""
    return float(memory[LOG] + memory[BOOST])


def observe_unit(memory: Memory, elapsed_ms: float, profiled_ms: float, variance: float) -> None:
    """Take one unit's time and its profiled median, both in milliseconds; what is no time is skipped.

    Args:
        memory: what is remembered.
        elapsed_ms: the unit's time.
        profiled_ms: its median in the profile.
        variance: of its logarithm in the profile, `noise`.
    """
    if not (elapsed_ms > 0.0 and profiled_ms > 0.0):
        return
    seen = max(-LIMIT, min(LIMIT, math.log(elapsed_ms / profiled_ms)))
    if memory[FIRST] > 0.0:
        # What a pause costs is learnt from the first unit after it, in small steps: one burst teaches little.
        place = IDLE + int(memory[PAUSE])
        memory[place] += 0.08 * max(-0.4, min(0.4, seen - memory[LOG] - memory[place]))
        memory[FIRST] = 0.0
    memory[VARIANCE] += DRIFT
    ahead = memory[LOG] + memory[BOOST]
    error = seen - ahead
    spread = math.sqrt(memory[VARIANCE] + variance)
    if abs(error) > SURPRISE * spread:
        sign = 1.0 if error > 0.0 else -1.0
        memory[STREAK] = memory[STREAK] + sign if memory[STREAK] * sign > 0.0 else sign
        if abs(memory[STREAK]) >= 2.0:
            # The smaller of the two surprises is the one that both agree on.
            error = sign * min(abs(error), abs(memory[HELD] - ahead))
            memory[VARIANCE] = max(memory[VARIANCE], error * error)
            memory[PENDING_MS] = 0.0
        else:
            error = 0.0
            memory[PENDING_MS] = max(elapsed_ms / math.exp(ahead) - profiled_ms, 0.0)
        memory[HELD] = seen
    else:
        memory[STREAK] = 0.0
        if memory[PENDING_MS] > 0.0:
            # One unit, and the next was as before: the device stood still for a moment, its pace is what it was.
            memory[STALLED] += 1.0
            memory[STALLED_MS] += memory[PENDING_MS]
            memory[PENDING_MS] = 0.0
    memory[RAN_MS] += profiled_ms
    gain = memory[VARIANCE] / (memory[VARIANCE] + variance)
    memory[LOG] += gain * error
    memory[VARIANCE] *= 1.0 - gain
    memory[BOOST] *= 0.5
    rate = max(RATE, 1.0 / (memory[SEEN] + 1.0))
    off = seen - memory[LEVEL]
    memory[SEEN] += 1.0
    memory[LEVEL] += rate * off
    # A spike says nothing about the mode, so that it may not say much about the spread either.
    memory[SPREAD] += rate * (min(off * off, 0.25) - memory[SPREAD])


def another_mode(memory: Memory) -> float | None:
    """The steady factor at which the device runs when it is not the profile's; None when all is as profiled."""
    level, spread = float(memory[LEVEL]), math.sqrt(float(memory[SPREAD]))
    steady = spread < max(STEADY, abs(level) / 3)
    if memory[SEEN] < SETTLED or abs(level) < ANOTHER_MODE or not steady:
        return None
    return math.exp(level)


class SlowdownFilter:
    """The filter on its own, for policies that need nothing else."""

    def __init__(self) -> None:
        self.memory = blank()

    @property
    def slowdown(self) -> float:
        """The present factor; 1 is as fast as profiled."""
        return math.exp(log_slowdown(self.memory))

    def begin(self, gap_ms: float) -> None:
        """A frame begins, so long after the last answer."""
        begin_pause(self.memory, gap_ms)

    def observe(self, elapsed_ms: float, profiled_ms: float, variance: float = LEAST_NOISE**2) -> None:
        """Take one unit's time and its profiled median, both in milliseconds; what is no time is skipped."""
        observe_unit(self.memory, elapsed_ms, profiled_ms, variance)
