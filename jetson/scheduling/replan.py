"""Replan + filter: at each boundary, the deepest exit whose filtered latency quantile still fits."""

from __future__ import annotations

import math

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.paths import Paths, remaining_quantiles
from jetson.scheduling.policy import ADVANCE, STOP, State
from jetson.scheduling.slowdown import SlowdownFilter


class Replan:
    """The first policy, and the strongest simple one.

    With a known budget it heads for the deepest exit that fits, measured as a quantile of the remaining path times
    the present slowdown, and decides anew at every boundary; of several exits after one layer the one of the highest
    believed quality goes first. When nothing fits and nothing is in hand it takes the quickest exit ahead. Without a
    limit it runs to the end; with an unknown one it takes every exit that is believed to improve on the answer in
    hand.
    """

    name = "replan"

    def __init__(self, manifest: Manifest, profile: LatencyProfile, level: float = 0.95, ahead: bool = False) -> None:
        """Prepare the tables.

        Args:
            manifest: of the bundle.
            profile: measured on this device.
            level: the latency quantile that must fit, 0..1.
            ahead: whether a path is enqueued as a whole; its time is then the one measured straight to its exit.
        """
        self.paths = Paths.of(manifest)
        names = [unit.name for unit in manifest.units]
        self._filter = SlowdownFilter()
        self._profiled_ms = [profile.units[name].end_to_end_ms.median for name in names]
        on_gpu = [profile.units[name].gpu_ms for name in names]
        self._profiled_gpu_ms = [sketch.median if sketch is not None else 0.0 for sketch in on_gpu]
        self._needed_ms: list[list[float]] = remaining_quantiles(self.paths, profile, names, level).tolist()
        if ahead:
            before = profile.preprocess_ms.median
            self._needed_ms[0] = [float(e.end_to_end_ms.quantile(level)) - before for e in profile.exits]
        stages, quality = self.paths.stages, self.paths.quality
        self._last = len(quality) - 1
        # Deepest first; of one layer the better first.
        self._ranked = sorted(range(len(quality)), key=lambda e: (-stages[e], -quality[e], e))
        self._quality = quality

    @property
    def slowdown(self) -> float:
        """The filter's present estimate."""
        return self._filter.slowdown

    def decide(self, state: State) -> int:
        """An action for this boundary, in a few microseconds."""
        if not state.known:
            return self._take_what_comes(state)
        target = self._target(state)
        return STOP if target is None else self._towards(target, state)

    def commit(self, state: State) -> int | None:
        """With a limit that is known, or none, the exit it heads for."""
        return self._target(state) if state.known else None

    def observe(self, unit: int, elapsed_ms: float | None, gpu_ms: float | None = None) -> None:
        """Feed the slowdown filter, with the time the host saw where it saw one."""
        if elapsed_ms is not None:
            self._filter.observe(elapsed_ms, self._profiled_ms[unit])
        elif gpu_ms is not None:
            self._filter.observe(gpu_ms, self._profiled_gpu_ms[unit])

    def _target(self, state: State) -> int | None:
        """The exit to head for; None when the answer in hand is to be had."""
        if state.remaining_ms == math.inf:
            return self._last
        needed, allowed_ms = self._needed_ms[state.stage], state.remaining_ms / self._filter.slowdown
        for exit_ in self._ranked:
            if exit_ == state.answered:
                break
            if needed[exit_] <= allowed_ms:
                return exit_
        if state.answered >= 0:
            return None
        return min(self._ranked, key=needed.__getitem__)

    def _towards(self, exit_: int, state: State) -> int:
        if state.answered == exit_:
            return STOP
        return exit_ if self.paths.stages[exit_] == state.stage else ADVANCE

    def _take_what_comes(self, state: State) -> int:
        quality, stages = self._quality, self.paths.stages
        floor = quality[state.answered] if state.answered >= 0 else -math.inf
        here = [e for e in self._ranked if stages[e] == state.stage and quality[e] > floor]
        if here:
            return here[0]
        ahead = any(s > state.stage and q > floor for s, q in zip(stages, quality, strict=True))
        return ADVANCE if ahead else STOP
