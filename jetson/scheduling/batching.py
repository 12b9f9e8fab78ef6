"""Whether frames that wait bring more together than one after another, by what the profile says of batches.

One step of a rollout (Bertsekas, Tsitsiklis and Wu 1997) over the order in which `jetson.streams` answers frames one by
one: what is each first batch, with the rest one by one behind it, expected to be worth, and is that more than all one
by one? A batch that is taken can so only add to what was expected; the rest is asked again when it has run.

Frames are worth what their exits are worth, times the chance that the answer is in time by the profile, scaled by the
present slowdown. Times are medians where the turn of the next frame is reckoned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.profiling.profile import LEVELS, BatchLatency, LatencyProfile, Sketch
from jetson.scheduling.memory import TAU
from jetson.scheduling.outlook import plain_outlook
from jetson.scheduling.planner import Planner
from jetson.scheduling.plans import Plan
from jetson.scheduling.slowdown import log_slowdown, noise

GAIN = 0.05
"""Share of the time of frames one after another that a batch must save to be thought of,"""
USUALLY = 0.75
"""in so large a share of the times it was measured: one that saves nothing must not pass by chance."""
WORTHWHILE = 0.01
"""What a batch must bring more for each frame that waits: profiles are not exact, and the best of many guesses is one
that was guessed too high; of two ways that are as good, one frame after another may look at answers."""
POINTS = 1024
"""Of the grid of times."""
MOST_FRAMES = 16
"""That are looked at; those due later are not yet reckoned with."""

ShareOut = Callable[[float, Sequence[float]], float]
"""From the time now and the deadlines in order to the moment until which the first frame may compute; in seconds."""


class Batch(NamedTuple):
    """What is to be answered together."""

    size: int
    """The first so many of those that can be in time."""
    exit: int


class Timed(NamedTuple):
    """A batch of one size to one exit, as profiled."""

    exit: int
    median_ms: float
    worth: list[float]
    """Of one frame, by the time it has, on the grid."""
    cost: float
    """Of the computing, for all frames."""


class Pace(NamedTuple):
    """What a unit (by index) takes in a batch of one size, as profiled."""

    profiled_ms: float
    variance: float
    """Of the time's logarithm."""


def gaining(profile: LatencyProfile) -> dict[int, list[int]]:
    """Exits to which a batch takes less time than its frames one after another, by the size of the batch."""
    found = {}
    for batch in profile.batches:
        pairs = enumerate(zip(batch.exits, batch.in_turn, strict=True))
        saves = [
            e
            for e, (at_once, in_turn) in pairs
            if at_once.end_to_end_ms.quantile(USUALLY) < (1.0 - GAIN) * in_turn.end_to_end_ms.median
        ]
        if saves:
            found[batch.frames] = saves
    return found


def _beside(batch: BatchLatency, exit_: int, profile: LatencyProfile) -> Sketch:
    """What a batch takes, on the scale of one frame as profiled alone.

    Frames one right after another take less than that, and the slowdown that is learnt of them makes up for it; a batch
    has no such gain, and must not be given it.
    """
    found, in_turn = batch.exits[exit_].end_to_end_ms, batch.in_turn[exit_].end_to_end_ms.median
    factor = max(batch.frames * profile.exits[exit_].end_to_end_ms.median / max(in_turn, 1e-9), 1.0)
    quantiles = tuple(q * factor for q in found.quantiles)
    return Sketch(n=found.n, mean=found.mean * factor, quantiles=quantiles)


class Batching:
    """Decides on batches for one planner."""

    def __init__(self, planner: Planner, most: int) -> None:
        """Lay out what frames are worth by the time they have.

        Args:
            planner: whose pace, prices and tables hold.
            most: frames at once.
        """
        self._planner, profile = planner, planner.profile
        self._late = planner.prices.late
        worth = plain_outlook(planner.manifest).worth[:, 0].tolist()
        self._best = max(worth)
        gains = gaining(profile)
        self.sizes = sorted(size for size in gains if size <= most)
        """Of batches that save time somewhere."""
        sketches = [e.end_to_end_ms for e in profile.exits]
        longest = [s.quantiles[-1] for s in sketches]
        longest += [_beside(b, e, profile).quantiles[-1] for b in profile.batches for e in range(len(b.exits))]
        self._step_ms = max(longest) / (POINTS - 2)
        self._grid = self._step_ms * np.arange(POINTS)
        values = np.array([self._values(w, s) for w, s in zip(worth, sketches, strict=True)])
        costs = planner.per_ms * np.array([s.median for s in sketches])
        chosen = np.argmax(values - costs[:, None], axis=0)
        self._straight = (values - costs[:, None]).max(axis=0)
        self._takes = np.array([s.median for s in sketches])[chosen].tolist()
        self._alone: list[float] = []
        self._plan: Plan | None = None
        # Whatever is as quick as something better is left out.
        self._ways: dict[int, list[Timed]] = {}
        names = [u.name for u in planner.manifest.units]
        self.paces: dict[int, dict[str, Pace]] = {}
        """By size and unit."""
        for batch in profile.batches:
            ways = []
            for e in gains.get(batch.frames, ()):
                sketch = _beside(batch, e, profile)
                values_at = self._values(worth[e], sketch).tolist()
                ways.append(Timed(e, sketch.median, values_at, planner.per_ms * sketch.median))
            self._ways[batch.frames] = sorted(ways, key=lambda w: (-worth[w.exit], w.median_ms))
            self.paces[batch.frames] = {n: Pace(batch.units[n].median, noise(batch.units[n])) for n in names}

    def choose(
        self, now: float, deadlines: Sequence[float], fitting: int, least: float, share: ShareOut
    ) -> Batch | None:
        """The batch that comes next; None for one frame on its own.

        Args:
            now: in seconds.
            deadlines: of the frames that can be in time if their turn is now, in order.
            fitting: how many of the first may be answered together.
            least: seconds that the quickest answer to one frame takes now.
            share: how the time is shared out when frames are answered one by one.
        """
        ahead = deadlines[:MOST_FRAMES]
        sizes = [s for s in self.sizes if s <= min(fitting, len(ahead))]
        if not sizes:
            return None
        planner = self._planner
        if planner.plan is not self._plan:
            self._look_up(planner.plan)
        tau = max(float(planner.memory[TAU]), planner.rules.least_tau)
        pace = math.exp(log_slowdown(planner.memory) + tau) / 1e3
        least_gain = WORTHWHILE * len(ahead)
        most = found = self._one_by_one(now, ahead, least, share, pace)
        chosen = None
        for size in sizes:
            places = [self._place(d - now, pace) for d in ahead[:size]]
            rest = ahead[size:]
            for way in self._ways[size]:
                value = sum(way.worth[p] for p in places) - way.cost
                if value + self._best * len(rest) <= found + least_gain:
                    continue
                value += self._one_by_one(now + way.median_ms * pace, rest, least, share, pace)
                if value > most and value > found + least_gain:
                    most, chosen = value, Batch(size, way.exit)
        return chosen

    def _one_by_one(self, now: float, deadlines: Sequence[float], least: float, share: ShareOut, pace: float) -> float:
        """What frames are expected to be worth when each has its own turn."""
        waiting: list[float] = []
        for deadline in deadlines:
            if now + least * (len(waiting) + 1) <= deadline:
                waiting.append(deadline)
        value = -self._late * (len(deadlines) - len(waiting))
        for place in range(len(waiting)):
            until = share(now, waiting[place:])
            at = self._place(until - now, pace)
            value += self._alone[at]
            now += self._takes[at] * pace
        return value

    def _place(self, left: float, pace: float) -> int:
        """On the grid, of seconds at the present pace."""
        return min(max(int(left / pace / self._step_ms), 0), POINTS - 1)

    def _values(self, worth: float, sketch: Sketch) -> npt.NDArray[np.float64]:
        in_time = np.interp(self._grid, sketch.quantiles, LEVELS, left=0.0, right=1.0)
        found: npt.NDArray[np.float64] = in_time * worth - (1.0 - in_time) * self._late
        return found

    def _look_up(self, plan: Plan) -> None:
        """What one frame is worth: straight to the best exit, or more where the planner looks at answers."""
        self._plan, alone = plan, self._straight
        if plan.known.outlook.buckets > 1:
            table = plan.known.value[0, 0, 0, 1:]
            times = self._grid - self._planner.profile.preprocess_ms.median
            places = np.clip((times / plan.known.step_ms).astype(np.intp), 0, len(table) - 1)
            alone = np.maximum(alone, np.where(times < 0.0, -self._late, table[places]))
        self._alone = alone.tolist()
