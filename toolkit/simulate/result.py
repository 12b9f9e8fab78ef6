"""What a policy achieved in a simulation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jetson.manifest import Manifest
from jetson.samples import Samples
from jetson.scheduling.memory import TARGET
from jetson.scheduling.outlook import worth_of
from jetson.scheduling.ruled import Ruled
from jetson.scheduling.rules import PLANNER, action_for
from toolkit.simulate.contestants import ORACLES, Rewards
from toolkit.simulate.course import LOOKED, Course, Floats
from toolkit.simulate.loop import Went

ROUNDS = 5
"""Times that decisions are taken over again; the quickest round of each counts."""


class Tally:
    """Sums over the frames of one policy."""

    def __init__(self, manifest: Manifest, samples: Samples, rewards: Rewards) -> None:
        """Begin with no frames.

        Args:
            manifest: of the bundle.
            samples: whose answers are replayed.
            rewards: what counts.
        """
        self._manifest, self._rewards = manifest, rewards
        self._worth, self._right = worth_of(manifest, samples), samples.worth
        self.frames = self.feasible = self.missed = self.counted = self.branches = 0
        self.right = self.compute_ms = self.value = self.forecast = 0.0
        self.exits = np.zeros(len(manifest.exits), np.int64)
        self._decisions: Floats | None = None
        self._policy: Ruled | None = None

    def add(self, policy: Ruled, device: Floats, course: Course, went: Went) -> None:
        """Add a block of frames."""
        counted = went.counted >= 0
        answer = course.sample, np.maximum(went.counted, 0)
        prices = self._rewards.prices
        value = np.where(counted, self._worth[answer], -prices.late) - prices.per_ms * went.compute_ms
        self.frames += len(went.exit)
        self.feasible += int(went.feasible.sum())
        self.missed += int((went.feasible & ~counted).sum())
        self.counted += int(counted.sum())
        self.right += float(self._right[answer][counted].sum())
        self.branches += int(went.branches.sum())
        self.compute_ms += float(went.compute_ms.sum())
        self.value += float(value.sum())
        self.forecast += float(went.forecast.sum())
        self.exits += np.bincount(went.exit, minlength=len(self.exits))
        if self._decisions is None:
            self._policy, self._decisions = policy, went.decisions[: int(device[LOOKED])]

    @property
    def merit(self) -> float:
        """What regret is measured in: the share of frames answered rightly in time, or in regression the value."""
        return (self.right if self._manifest.task == "classification" else self.value) / self.frames

    def figures(self, policy: str, latency_oracle: Tally, full_oracle: Tally) -> dict[str, Any]:
        """The figures, by name; what cannot be said is None."""
        classify = self._manifest.task == "classification"
        assert self._policy is not None and self._decisions is not None
        gap = (self.forecast - self.value) / self.frames if self._policy.rules.kind == PLANNER else None
        return {
            "policy": policy,
            "acc_at_d": self.right / self.frames if classify else None,
            "mean_abs_error": None if classify or not self.counted else self.right / self.counted,
            "value": self.value / self.frames,
            "miss_rate": self.missed / self.feasible if self.feasible else None,
            "infeasible_share": 1.0 - self.feasible / self.frames,
            "regret_latency_oracle": latency_oracle.merit - self.merit,
            "regret_full_oracle": full_oracle.merit - self.merit,
            "compute_ms": self.compute_ms / self.frames,
            "branches_per_frame": self.branches / self.frames,
            "decision_us": None if policy in ORACLES else decision_us(self._policy, self._decisions),
            "model_gap": gap,
            "frames": self.frames,
            "exits": {e.name: int(n) for e, n in zip(self._manifest.exits, self.exits, strict=True)},
        }


def decision_us(policy: Ruled, decisions: Floats) -> float:
    """Median time that the shipped code takes over these decisions, in microseconds, plain Python as on a device."""
    rules, memory = policy.rules, policy.memory.copy()
    notes = [(int(a), int(b), c, d, e, f > 0.0) for a, b, c, d, e, f in decisions.tolist()]
    took = np.full((ROUNDS, len(notes)), math.inf)
    for number in range(ROUNDS):
        for place, note in enumerate(notes):
            if note[0] == 0 and note[1] < 0:
                memory[TARGET] = -1.0
            began = time.perf_counter_ns()
            action_for(rules, memory, *note)
            took[number, place] = time.perf_counter_ns() - began
    return float(np.median(took.min(axis=0))) / 1e3


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of a policy's figures over seeds; with several, `spread` holds the least and the most of each."""
    first = runs[0]
    found: dict[str, Any] = dict(first)
    spread: dict[str, tuple[float, float]] = {}
    for key, value in first.items():
        if key == "exits":
            found[key] = {name: sum(run[key][name] for run in runs) for name in value}
        elif key == "frames":
            found[key] = sum(run[key] for run in runs)
        elif key != "policy":
            values = [run[key] for run in runs if run[key] is not None]
            found[key] = float(np.mean(values)) if values else None
            if len(runs) > 1 and values:
                spread[key] = (min(values), max(values))
    return found | ({"spread": spread} if spread else {})
