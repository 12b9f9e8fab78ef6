"""Replan + filter: at each boundary, the deepest exit whose filtered latency quantile still fits."""

from __future__ import annotations

import math

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.paths import Paths, remaining_quantiles
from jetson.scheduling.policy import State
from jetson.scheduling.ruled import Ruled, rules_for
from jetson.scheduling.rules import REPLAN, fitting
from jetson.scheduling.slowdown import log_slowdown


class Replan(Ruled):
    """The strongest simple policy, which the planner is held against.

    With a known budget it heads for the deepest exit that fits, measured as a quantile of the remaining path times
    the present slowdown, and decides anew at every boundary; of several exits after one layer the one of the highest
    believed quality goes first. When nothing fits and nothing is in hand it takes the quickest exit ahead. Without a
    limit it runs to the end; with an unknown one it takes every exit that is believed to improve on the answer in
    hand.
    """

    def __init__(self, manifest: Manifest, profile: LatencyProfile, level: float = 0.95, ahead: bool = False) -> None:
        """Prepare the tables.

        Args:
            manifest: of the bundle.
            profile: measured on this device.
            level: the latency quantile that must fit, 0..1.
            ahead: whether a path is enqueued as a whole; its time is then the one measured straight to its exit.
        """
        paths, names = Paths.of(manifest), [unit.name for unit in manifest.units]
        needed = remaining_quantiles(paths, profile, names, level)
        if ahead:
            before = profile.preprocess_ms.median
            needed[0] = [float(e.end_to_end_ms.quantile(level)) - before for e in profile.exits]
        super().__init__("replan", manifest, profile, rules_for(REPLAN, paths, profile, names, level, needed_ms=needed))

    def commit(self, state: State) -> int | None:
        """With a limit that is known, or none, the exit it heads for."""
        if not state.known:
            return None
        allowed_ms = state.remaining_ms / math.exp(log_slowdown(self.memory))
        return fitting(self.rules, state.stage, state.answered, allowed_ms, False)
