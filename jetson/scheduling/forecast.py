"""What a table of actions leads to: probability, followed forward from the first boundary to the answers.

The states are those of `jetson.scheduling.induction`, but that time is counted up from the start of the frame, so that
a table can be looked up at other times than those it was solved for: at a careful tau, or without being told the
budget. The device runs at one pace throughout, units are independent of one another, and what an answer says of itself
follows the table's outlook.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetson.scheduling.costs import Kernel
from jetson.scheduling.induction import Table
from jetson.scheduling.lookahead import chances_of
from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP

Array = npt.NDArray[np.float64]

LEAST = 1e-9
"""Probability that is more than a rounding error."""


@dataclass(frozen=True)
class Clock:
    """How a table is looked up and when the budget ends, by the steps of the grid since the frame began."""

    before: Kernel
    """What passes before the first boundary, on the table's grid."""
    columns: npt.NDArray[np.intp]
    """(steps,): of the table."""
    alive: Array
    """(steps,): probability that the budget has not ended; a frame that takes longer has missed it."""
    ends: bool = True
    """False when there is no limit: then the last step stands for all later ones."""

    @classmethod
    def told(cls, table: Table, before: Kernel, budget_ms: float, tau: float) -> Clock:
        """For a budget that the planner knows.

        Args:
            table: to look up.
            before: what passes before the first boundary.
            budget_ms: since the frame began, at the pace that was profiled; may be infinite.
            tau: time is taken for so many times shorter.
        """
        last = table.action.shape[3] - 1
        if budget_ms == np.inf:
            return cls(before, np.array([last]), np.ones(1), ends=False)
        elapsed = np.arange(_steps(table, before, budget_ms))
        left = np.maximum(budget_ms / table.step_ms - elapsed, 0.0)
        return cls(before, np.minimum(left / tau, last - 1).astype(np.intp) + 1, np.ones(len(elapsed)))

    @classmethod
    def untold(cls, table: Table, before: Kernel, budget_ms: float | None, since_ms: float = 0.0) -> Clock:
        """For a budget that the planner does not know.

        Args:
            table: to look up.
            before: what passes before the first boundary.
            budget_ms: when it ends all the same, infinite for never; None for any time, as likely as the table has it.
            since_ms: moment of the frame from which on time counts for the planner.
        """
        last = table.action.shape[3] - 1
        if budget_ms is None:
            # The table and its distribution begin at the first boundary.
            at_once = Kernel((0,), (1.0,), 0.0)
            return cls(at_once, np.arange(last, 0, -1), table.survival[:0:-1].astype(np.float64))
        elapsed = np.arange(_steps(table, before, budget_ms))
        gone = np.maximum(elapsed - since_ms / table.step_ms, 0.0).astype(np.intp)
        return cls(before, np.maximum(last - gone, 0), np.ones(len(elapsed)))


def _steps(table: Table, before: Kernel, budget_ms: float) -> int:
    """Of a frame, until the budget ends or nothing can take longer."""
    longest = sum(k.steps[-1] for k in (before, *table.costs.segments, *table.costs.branches)) + 1
    return int(min(budget_ms / table.step_ms + 1, longest)) if budget_ms >= 0.0 else 0


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of one frame, on the device as profiled."""

    in_time: Array
    """(exits,): probability that this exit's answer counts,"""
    late: Array
    """(exits,): and that it comes when none was had in time."""
    worth: float
    """Expected worth, where an answer that comes late is worth nothing."""
    compute_ms: float
    """Of all units that run."""
    branches: float
    """How many run."""


def forecast(table: Table, paths: Paths, clock: Clock, keeps: bool) -> Forecast:
    """Follow a table's actions.

    Args:
        table: of actions.
        paths: of the bundle.
        clock: how it is looked up.
        keeps: whether the answer in hand counts when the budget ends while a unit runs; else it is lost.
    """
    return _Walk(table, paths, clock, keeps).run()


class _Walk:
    """Probability on its way. `_here` holds it as if no budget ended; times `alive` it is that of getting there."""

    def __init__(self, table: Table, paths: Paths, clock: Clock, keeps: bool) -> None:
        self._table, self._paths, self._clock, self._keeps = table, paths, clock, keeps
        stages, exits = len(paths.segments), len(paths.branches)
        self._here = np.zeros((exits + 1, table.outlook.buckets, len(clock.alive)))
        """At one stage, by what is in hand, what that says of itself, and the time."""
        self._next = np.zeros_like(self._here)
        self._empty = np.zeros(stages + 1)
        """Probability that the budget has ended with nothing in hand, by stage."""
        self._in_time, self._late = np.zeros(exits), np.zeros(exits)
        self._worth = self._compute_ms = self._branches = 0.0

    def run(self) -> Forecast:
        self._here[0, 0, :1] = 1.0
        self._here = self._later(self._here, self._clock.before)
        self._empty[0] = 1.0 - self._by_bucket(self._here[0]).sum()
        for stage in range(len(self._empty)):
            # A branch only betters what is in hand, so that hands later in order are complete when they are reached.
            for hand in range(len(self._here)):
                if self._here[hand].any():
                    self._decide(stage, hand)
            self._hurry(stage)
            self._here, self._next = self._next, np.zeros_like(self._next)
        in_time, late = (np.where(p < LEAST, 0.0, p) for p in (self._in_time, self._late))
        return Forecast(in_time, late, self._worth, float(self._compute_ms), float(self._branches))

    def _decide(self, stage: int, hand: int) -> None:
        here = self._here[hand]
        actions = self._table.action[stage, hand][:, self._clock.columns]
        for action in np.unique(actions).tolist():
            part = np.where(actions == action, here, 0.0)
            if action == STOP and hand == 0:
                self._empty[stage] += self._by_bucket(part).sum()
            elif action == STOP:
                self._answer(hand, self._by_bucket(part))
            elif action == ADVANCE:
                self._advance(stage, hand, part)
            else:
                self._branch(stage, hand, action, part)

    def _advance(self, stage: int, hand: int, part: Array) -> None:
        unit = self._table.costs.segments[stage]
        after = self._later(part, unit)
        self._next[hand] += after
        chances = self._by_bucket(part)
        self._compute_ms += chances.sum() * unit.cost_ms
        ended = chances - self._by_bucket(after)
        if hand == 0:
            self._empty[stage + 1] += ended.sum()
        else:
            self._end(hand, ended, hand - 1)

    def _branch(self, stage: int, hand: int, exit_: int, part: Array) -> None:
        unit = self._table.costs.branches[exit_]
        after = self._later(part, unit)
        chances = self._by_bucket(part)
        self._compute_ms += chances.sum() * unit.cost_ms
        self._branches += chances.sum()
        for bucket in range(len(part)):
            said = chances_of(self._table, hand, bucket, exit_)
            self._here[exit_ + 1] += said[:, None] * after[bucket]
        self._end(hand, chances - self._by_bucket(after), exit_)

    def _end(self, hand: int, ended: Array, exit_: int) -> None:
        """The budget ended while a unit ran; if nothing else counts, an exit's answer comes late."""
        if hand > 0 and self._keeps:
            self._answer(hand, ended)
        else:
            self._late[exit_] += ended.sum()

    def _hurry(self, stage: int) -> None:
        """What has nothing in hand when the budget is over goes to the nearest answer."""
        chance = self._empty[stage]
        if chance < LEAST:
            return
        action = int(self._table.action[stage, 0, 0, 0])
        if action == ADVANCE:
            self._compute_ms += chance * self._table.costs.segments[stage].cost_ms
            self._empty[stage + 1] += chance
        else:
            self._compute_ms += chance * self._table.costs.branches[action].cost_ms
            self._branches += chance
            self._late[action] += chance

    def _answer(self, hand: int, chances: Array) -> None:
        self._in_time[hand - 1] += chances.sum()
        self._worth += float(chances @ self._table.outlook.worth[hand - 1])

    def _by_bucket(self, part: Array) -> Array:
        found: Array = part @ self._clock.alive
        return found

    def _later(self, part: Array, unit: Kernel) -> Array:
        """(..., steps): after a unit; what comes after the last step is left out, if the budget ends there."""
        found = np.zeros_like(part)
        steps = part.shape[-1]
        for step, share in zip(unit.steps, unit.shares, strict=True):
            if step < steps:
                found[..., step:] += share * part[..., : steps - step]
            if not self._clock.ends:
                found[..., -1] += share * part[..., max(steps - step, 0) :].sum(axis=-1)
        return found
