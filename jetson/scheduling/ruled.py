"""A policy that decides by one of the rules: what the planner and the policies it is compared with have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile, UnitLatency
from jetson.scheduling import learning
from jetson.scheduling.foresight import Foresight
from jetson.scheduling.memory import TAU, blank
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import Foreseen, FrameEnd, State
from jetson.scheduling.rules import PLANNER, Rules, action_for
from jetson.scheduling.slowdown import another_mode, log_slowdown, noise, observe_unit, usual_stalls


def rules_for(
    kind: int, paths: Paths, profile: LatencyProfile, names: Sequence[str], level: float = 0.95, **others: Any
) -> Rules:
    """Rules of one kind, with what every kind needs filled in and nothing else but what is given.

    Args:
        kind: of the rule.
        paths: of the bundle.
        profile: measured on this device.
        names: of the units, by index.
        level: quantile of the quickest exit's latency from which a budget counts as one that can be met.
        others: further fields of `Rules`.
    """
    units = [profile.units[n] for n in names]
    sketches = [u.end_to_end_ms for u in units]
    # Deepest first; of one layer the better first.
    order = sorted(range(len(paths.stages)), key=lambda e: (-paths.stages[e], -paths.quality[e], e))
    medians = [s.median for s in sketches]
    ends = [b for b, needs in zip(paths.branches, paths.stages, strict=True) if needs == len(paths.segments)]
    no_table = np.empty((0, 0, 0, 0), np.int8)
    found: dict[str, Any] = {
        "stages": np.array(paths.stages, np.int64),
        "ranked": np.array(order, np.int64),
        "quality": np.array(paths.quality),
        "needed_ms": np.empty((0, 0)),
        "profiled_ms": np.array(medians),
        "reading_ms": np.array([reading_ms(u) if i in paths.branches else 0.0 for i, u in enumerate(units)]),
        "variance": np.array([noise(s) for s in sketches]),
        "edges": np.empty((len(paths.stages), 0)),
        "known": no_table[None],
        "hidden": no_table[None],
        "settled": no_table,
        "next_ms": np.array([medians[s] for s in paths.segments] + [min(medians[b] for b in ends)]),
        "stalls": np.zeros(1),
        "usual_stalls": usual_stalls(sketches),
        "step_ms": 1.0,
        "hidden_step_ms": 1.0,
        "level": 0.0,
        "target": -1,
        "quickest_ms": min(float(e.end_to_end_ms.quantile(level)) for e in profile.exits),
        "shortest_ms": shortest_ms(paths, medians),
        "before_ms": profile.preprocess_ms.median,
        "miss_rate": 0.0,
        "least_tau": 0.0,
    }
    return Rules(kind=kind, **(found | others))


def reading_ms(branch: UnitLatency) -> float:
    """What comes after a branch until the next boundary: its answer is read."""
    return max(branch.end_to_end_ms.median - branch.host_ms.median, 0.0)


def viewed(rules: Rules) -> Rules:
    """The same rules, their arrays as views whose elements are plain Python numbers, quicker to read one by one."""
    return Rules._make(v.data if isinstance(v, np.ndarray) else v for v in rules)


def shortest_ms(paths: Paths, unit_ms: Sequence[float]) -> float:
    """What the units on the way to the quickest exit take together."""
    ways = zip(paths.stages, paths.branches, strict=True)
    return min(sum(unit_ms[s] for s in paths.segments[:needs]) + unit_ms[branch] for needs, branch in ways)


class Ruled:
    """Decides by `rules` and remembers in `memory`."""

    def __init__(self, name: str, manifest: Manifest, profile: LatencyProfile, rules: Rules) -> None:
        """Begin with nothing remembered.

        Args:
            name: of the policy.
            manifest: of the bundle.
            profile: measured on this device.
            rules: to decide by.
        """
        self.name = name
        self.paths = Paths.of(manifest)
        self.rules = rules
        self.memory = blank()
        self._memory: Any = self.memory.data
        self.memory[TAU] = rules.least_tau
        on_gpu = [profile.units[u.name].gpu_ms for u in manifest.units]
        self._gpu_ms = [s.median if s is not None else 0.0 for s in on_gpu]

    @property
    def rules(self) -> Rules:
        """To decide by."""
        return self._stated

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._stated, self._viewed = rules, viewed(rules)
        self._foresight = Foresight(rules, self._viewed, self.paths) if rules.kind == PLANNER else None

    @property
    def slowdown(self) -> float:
        """The filter's present estimate."""
        return math.exp(log_slowdown(self._memory))

    @property
    def notice(self) -> str | None:
        """That the device steadily runs at another pace than when it was profiled."""
        factor = another_mode(self.memory)
        if factor is None:
            return None
        return (
            f"units steadily take {factor:.2f} times as long as in the profile: another power mode, or lasting "
            "throttling? If it is to stay so, measure again with: offramp profile"
        )

    def begin(self, gap_ms: float) -> None:
        """A frame begins, so long after the last answer."""
        learning.begin_frame(self._viewed, self._memory, gap_ms)

    def decide(self, state: State) -> int:
        """An action for this boundary, in a few microseconds."""
        s = state
        return action_for(
            self._viewed, self._memory, s.stage, s.answered, s.said, s.remaining_ms, s.elapsed_ms, s.known
        )

    def commit(self, state: State) -> int | None:
        """Never: what comes next is decided at every boundary."""
        return None

    def foresee(self, state: State, action: int, through_answers: bool) -> Foreseen | None:
        """What the planner's tables say of the boundaries to come; nothing of any other rule."""
        foresight = self._foresight
        return None if foresight is None else foresight.way(self._memory, state, action, through_answers)

    def observe(self, unit: int, elapsed_ms: float | None, gpu_ms: float | None = None, unread: bool = False) -> None:
        """Feed the slowdown filter, with the time the host saw where it saw one."""
        if elapsed_ms is not None:
            if unread:
                elapsed_ms += self._viewed.reading_ms[unit]
            learning.observe(self._viewed, self._memory, unit, elapsed_ms)
        elif gpu_ms is not None:
            observe_unit(self._memory, gpu_ms, self._gpu_ms[unit], self._viewed.variance[unit])

    def observe_against(self, elapsed_ms: float, profiled_ms: float, variance: float) -> None:
        """Feed the slowdown filter with a unit that ran in another way than as profiled alone.

        Args:
            elapsed_ms: that it took.
            profiled_ms: its median, run in that way.
            variance: of the logarithm of its time, run in that way.
        """
        learning.observe_time(self._memory, elapsed_ms, profiled_ms, variance)

    def finish(self, end: FrameEnd) -> None:
        """Learn from a frame what the rule has a use for."""
        learning.end_frame(self.rules, self.memory, *end)
