"""All policies through the same frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.planner import FIRST_REFRESH, Planner, next_look
from jetson.scheduling.ruled import Ruled
from jetson.scheduling.rules import Rules
from toolkit.simulate.blocks import BLOCK, blocks, choose_samples, recorded_of
from toolkit.simulate.contestants import ORACLES, Rewards, contestant, who_decides
from toolkit.simulate.course import Course, Recorded, new_device
from toolkit.simulate.loop import Forecast, Went
from toolkit.simulate.result import Tally
from toolkit.simulate.scenarios import Scenario

Simulate = Callable[..., None]
DECISIONS = 400
"""Kept of every policy, to see how long it takes over them."""


class Entrant:
    """A policy on its way through the frames."""

    def __init__(self, name: str, policy: Ruled) -> None:
        self.name, self.policy = name, policy
        self.device = new_device()
        self._done, self._next = 0, FIRST_REFRESH

    def run(self, simulate: Simulate, course: Course, recorded: Recorded, lost: bool) -> Went:
        """Through a block; the planner looks at what it has learnt when it would on a device."""
        frames = len(course.t_ms)
        went = Went.of(frames, DECISIONS)
        at = 0
        while at < frames:
            until = min(frames, at + self._next - self._done) if isinstance(self.policy, Planner) else frames
            simulate(
                plain_rules(self.policy.rules),
                self.policy.memory,
                self.device,
                course,
                recorded,
                forecast_of(self.policy),
                went,
                at,
                until,
                lost,
                who_decides(self.name),
            )
            self._done += until - at
            at = until
            if isinstance(self.policy, Planner) and self._done == self._next:
                self.policy.refresh()
                self._next = next_look(self._done)
        return went


def run_contest(
    simulate: Simulate,
    names: Sequence[str],
    manifest: Manifest,
    profile: LatencyProfile,
    samples: Mapping[str, Samples],
    scenario: Scenario,
    rewards: Rewards,
    role: str = "test",
    seed: int = 0,
    done: Callable[[float], None] = lambda _share: None,
) -> dict[str, Tally]:
    """Replay a scenario.

    Args:
        simulate: `toolkit.simulate.loop.simulate`, as it is or compiled.
        names: of policies; the oracles always take part, since regret is held against them.
        manifest: of the bundle.
        profile: measured latencies.
        samples: recorded answers by role.
        scenario: that all go through.
        rewards: what counts.
        role: whose answers are replayed.
        seed: of latencies and of the order of answers.
        done: is told the share done.

    Returns:
        By policy, in the order of `names`, then oracles that are not among them.
    """
    replayed = samples[role]
    recorded = recorded_of(manifest, replayed)
    units = [u.name for u in manifest.units]
    entrants = [
        Entrant(n, contestant(n, manifest, profile, samples, rewards)) for n in dict.fromkeys([*names, *ORACLES])
    ]
    tallies = {e.name: Tally(manifest, replayed, rewards) for e in entrants}
    order = choose_samples(len(replayed), len(scenario), seed)
    steps = math.ceil(len(scenario) / BLOCK) * len(entrants)
    step = 0
    for course in blocks(scenario, profile, units, order, seed):
        for entrant in entrants:
            went = entrant.run(simulate, course, recorded, rewards.late == "lost")
            tallies[entrant.name].add(entrant.policy, entrant.device, course, went)
            step += 1
            done(step / steps)
    return tallies


def plain_rules(rules: Rules) -> Rules:
    """The same in types that are always the same, so that a compiler need look at them once."""
    kinds: dict[str, Any] = {"kind": int, "target": int}
    found: dict[str, Any] = {
        name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else kinds.get(name, float)(value)
        for name, value in rules._asdict().items()
    }
    return Rules(**found)


def forecast_of(policy: Ruled) -> Forecast:
    """What the planner expects of a frame that begins."""
    if not isinstance(policy, Planner):
        return Forecast(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    known = np.stack([t.value[0, 0, 0] for t in (policy.plan.known, *policy.plan.stalled)])
    hidden = np.stack([t.value[0, 0, 0] for t in (policy.plan.hidden, *policy.plan.after)])
    return Forecast(known, hidden)
