"""The rules by which policies decide: functions over numbers and arrays, the same on a device and in a simulation.

`action_for` knows every policy by a number, `Rules.kind`, so that a simulation can compile all of them as one. Nothing
here allocates, and a decision takes a few microseconds in plain Python. Arrays are read element by element: `viewed`
ones, of `jetson.scheduling.ruled`, do as well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.scheduling.memory import (
    BOOST,
    DEADLINE,
    HIDDEN_LEVEL,
    KALMAN,
    LOG,
    RAN_MS,
    STALL_LEVEL,
    STALLED,
    TARGET,
    TAU,
)

ADVANCE = -1
"""Action: run the next segment."""
STOP = -2
"""Action: answer with what is in hand. Any action from 0 up means: run the branch of that exit."""

SAME_MS = 1e-3
"""Deadlines that differ by less are one: they are sums of times that were measured."""

PLANNER, REPLAN, STATIC, DEEPEST, ALERT, THRESHOLD, GIVEN = range(7)


class Rules(NamedTuple):
    """All that a policy decides by, but for what it remembers. What a policy has no use for is empty."""

    kind: int
    stages: npt.NDArray[np.int64]
    """(exits,): how many segments each exit needs."""
    ranked: npt.NDArray[np.int64]
    """(exits,): exits in the order in which they are preferred."""
    quality: npt.NDArray[np.float64]
    """(exits,)"""
    needed_ms: npt.NDArray[np.float64]
    """(stages + 1, exits): time from a boundary to an exit's answer that must fit; infinite for exits behind it."""
    profiled_ms: npt.NDArray[np.float64]
    """(units,): medians."""
    reading_ms: npt.NDArray[np.float64]
    """(units,): what of it goes to reading a branch's answer; 0 for segments."""
    variance: npt.NDArray[np.float64]
    """(units,): of the logarithm of each unit's time, in the profile."""
    edges: npt.NDArray[np.float64]
    """(exits, buckets - 1): where the buckets of what an answer says of itself meet."""
    known: npt.NDArray[np.int8]
    """(stall levels, stages + 1, exits + 1, buckets, columns): actions for a known budget; `induction.Table` has the
    columns."""
    hidden: npt.NDArray[np.int8]
    """(1 or kinds + 1, stages + 1, exits + 1, buckets, columns of its own): for a budget that nobody knows, by the time
    to the latest moment it can end; for any, and once that is known for what comes after each kind of frame."""
    settled: npt.NDArray[np.int8]
    """(stages + 1, exits + 1, buckets, columns): for a budget that was told and has been revised once in this frame."""
    next_ms: npt.NDArray[np.float64]
    """(stages + 1,): median of the segment that comes next; of the last stage's quickest branch at the end."""
    stalls: npt.NDArray[np.float64]
    """(stall levels,): stalls per millisecond as profiled, beyond the usual ones, that each level was solved for."""
    usual_stalls: float
    """Per millisecond, on the device as profiled."""
    step_ms: float
    """Of the columns, as profiled,"""
    hidden_step_ms: float
    """and of those of `hidden`."""
    level: float
    """THRESHOLD: how sure an answer must be; as a logit. STATIC and GIVEN: unused."""
    target: int
    """STATIC: the exit."""
    before_ms: float
    """Median of what comes before the first boundary: preprocessing."""
    quickest_ms: float
    """A budget under this cannot be met on the device as profiled: promises do not speak of it."""
    shortest_ms: float
    """What the units on the way to the quickest exit take together as profiled."""
    miss_rate: float
    """Promised share of late answers among budgets that can be met; 0 for no promise."""
    least_tau: float
    """Logarithm: TAU never falls below it."""


def action_for(
    rules: Rules,
    memory: npt.NDArray[np.float64],
    stage: int,
    answered: int,
    said: float,
    remaining_ms: float,
    elapsed_ms: float,
    known: bool,
) -> int:
    """Decide by whichever rule it is.

    Args:
        rules: to decide by.
        memory: what is remembered, `jetson.scheduling.memory`.
        stage: segments run so far.
        answered: the exit in hand, -1 for none.
        said: what the answer in hand says of itself: the logit of its posterior, or in regression its first output.
        remaining_ms: time left, infinite without a limit, negative when it has passed.
        elapsed_ms: since the frame began.
        known: False when there is a limit that nobody knows.
    """
    kind = rules.kind
    if kind == PLANNER:
        return plan(rules, memory, stage, answered, said, remaining_ms, elapsed_ms, known)
    if kind == REPLAN:
        return replan(rules, memory, stage, answered, remaining_ms, known)
    if kind == THRESHOLD:
        return threshold(rules, memory, stage, answered, said, remaining_ms, known)
    if kind in (DEEPEST, ALERT):
        if not known:
            return take_what_comes(rules, stage, answered)
        if memory[TARGET] < 0.0:
            if kind == ALERT:
                memory[TARGET] = alert_target(rules, memory, remaining_ms)
            else:
                memory[TARGET] = fitting(rules, 0, -1, remaining_ms, True)
        return towards(rules, int(memory[TARGET]), stage, answered)
    return towards(rules, rules.target if kind == STATIC else int(memory[TARGET]), stage, answered)


def plan(
    rules: Rules,
    memory: npt.NDArray[np.float64],
    stage: int,
    answered: int,
    said: float,
    remaining_ms: float,
    elapsed_ms: float,
    known: bool,
) -> int:
    """The planner's rule: look the action up, at the time as it would be on the device as profiled."""
    bucket = bucket_of(rules, answered, said)
    column = column_of(rules, memory, stage, remaining_ms, elapsed_ms, known)
    if not known:
        return int(rules.hidden[_level(memory[HIDDEN_LEVEL], rules.hidden), stage, answered + 1, bucket, column])
    deadline = remaining_ms + elapsed_ms
    if memory[DEADLINE] < 0.0:
        memory[DEADLINE] = deadline
    if deadline != memory[DEADLINE] and abs(deadline - memory[DEADLINE]) > SAME_MS:
        return int(rules.settled[stage, answered + 1, bucket, column])
    return int(rules.known[_level(memory[STALL_LEVEL], rules.known), stage, answered + 1, bucket, column])


def bucket_of(rules: Rules, answered: int, said: float) -> int:
    """The bucket of what the answer in hand says of itself; 0 without one."""
    bucket = 0
    if answered >= 0:
        while bucket < rules.edges.shape[1] and said >= rules.edges[answered, bucket]:
            bucket += 1
    return bucket


def _level(level: float, tables: npt.NDArray[np.int8]) -> int:
    """The table of this level; tables may have become fewer since the frame began."""
    return int(min(int(level), tables.shape[0] - 1))


def column_of(
    rules: Rules, memory: npt.NDArray[np.float64], stage: int, remaining_ms: float, elapsed_ms: float, known: bool
) -> int:
    """The column of the planner's tables that holds now; arguments as of `action_for`."""
    pace = math.exp(memory[LOG])
    # What a pause still costs falls on the next units, half as much on each as on the one before.
    pause_ms = 2.0 * rules.next_ms[stage] * (math.exp(memory[BOOST]) - 1.0)
    if not known:
        # The tables begin at the first boundary.
        gone_ms = max(elapsed_ms - rules.before_ms, 0.0) / pace + pause_ms
        last = rules.hidden.shape[4] - 1
        gone = min(max(gone_ms, 0.0) / rules.hidden_step_ms, last)
        return int(max(last - int(gone), 0))
    if remaining_ms < 0.0:
        return 0
    last = rules.settled.shape[3] - 1
    left_ms = remaining_ms / (pace * math.exp(max(memory[TAU], rules.least_tau))) - pause_ms
    return int(min(int(min(max(left_ms, 0.0) / rules.step_ms, last)) + 1, last))


def replan(
    rules: Rules, memory: npt.NDArray[np.float64], stage: int, answered: int, remaining_ms: float, known: bool
) -> int:
    """The deepest exit whose latency quantile, times the slowdown, still fits; decided anew at every boundary."""
    if not known:
        return take_what_comes(rules, stage, answered)
    pace = math.exp(memory[LOG] + memory[BOOST])
    return towards(rules, fitting(rules, stage, answered, remaining_ms / pace, False), stage, answered)


def fitting(rules: Rules, stage: int, answered: int, allowed_ms: float, first: bool) -> int:
    """The first of the ranked exits that fits; the answer in hand when none better does, else the quickest ahead.

    Args:
        rules: with `ranked` and `needed_ms`.
        stage: segments run so far.
        answered: the exit in hand, -1 for none.
        allowed_ms: time left, as profiled.
        first: whether a limit that is infinite is like any other; else it means the exit that lies deepest.
    """
    ranked, needed = rules.ranked, rules.needed_ms
    if allowed_ms == math.inf and not first:
        return int(rules.stages.shape[0]) - 1
    for i in range(ranked.shape[0]):
        exit_ = ranked[i]
        if exit_ == answered:
            return answered
        if needed[stage, exit_] <= allowed_ms:
            return int(exit_)
    if answered >= 0:
        return answered
    best = 0
    for i in range(ranked.shape[0]):
        if needed[stage, ranked[i]] < needed[stage, ranked[best]]:
            best = i
    return int(ranked[best])


def towards(rules: Rules, exit_: int, stage: int, answered: int) -> int:
    """The next step on the way to an exit, or STOP when it is in hand or lies behind."""
    if answered == exit_ or rules.stages[exit_] < stage:
        return STOP
    return exit_ if rules.stages[exit_] == stage else ADVANCE


def take_what_comes(rules: Rules, stage: int, answered: int) -> int:
    """Every exit on the way that is believed to improve on the answer in hand."""
    quality, ranked, stages = rules.quality, rules.ranked, rules.stages
    floor = quality[answered] if answered >= 0 else -math.inf
    for i in range(ranked.shape[0]):
        if stages[ranked[i]] == stage and quality[ranked[i]] > floor:
            return int(ranked[i])
    for i in range(ranked.shape[0]):
        if stages[ranked[i]] > stage and quality[ranked[i]] > floor:
            return ADVANCE
    return STOP


def threshold(
    rules: Rules,
    memory: npt.NDArray[np.float64],
    stage: int,
    answered: int,
    said: float,
    remaining_ms: float,
    known: bool,
) -> int:
    """Every exit in turn until one is sure enough; what would come too late is left out."""
    stages = rules.stages
    if answered >= 0 and said >= rules.level:
        return STOP
    following = answered + 1
    while following < stages.shape[0] and stages[following] < stage:
        following += 1
    if following == stages.shape[0]:
        return STOP
    allowed_ms = remaining_ms / math.exp(memory[LOG] + memory[BOOST])
    if known and rules.needed_ms[stage, following] > allowed_ms and answered >= 0:
        return STOP
    return following if stages[following] == stage else ADVANCE


def choose_level(rules: Rules, memory: npt.NDArray[np.float64]) -> None:
    """Before a frame: take the table that was solved for about as many stalls as there were of late."""
    levels = rules.stalls.shape[0]
    extra = memory[STALLED] / max(memory[RAN_MS], 1e-9) - rules.usual_stalls
    level = 0
    while level + 1 < levels and extra > 0.5 * (rules.stalls[level] + rules.stalls[level + 1]):
        level += 1
    memory[STALL_LEVEL] = level


def alert_target(rules: Rules, memory: npt.NDArray[np.float64], remaining_ms: float) -> int:
    """ALERT's choice at the start of a frame (Wan et al., ATC 2020): the highest expected quality in time.

    The slowdown is normal with the mean and variance that its Kalman filter holds.
    """
    best, found = 0, -math.inf
    spread = math.sqrt(max(memory[KALMAN + 1], 1e-12))
    for exit_ in range(rules.stages.shape[0]):
        allowed = remaining_ms / max(rules.needed_ms[0, exit_], 1e-12)
        chance = 0.5 * math.erfc((memory[KALMAN] - allowed) / (spread * math.sqrt(2.0)))
        # Of exits without a chance the quickest is taken: they differ by what they need only.
        value = rules.quality[exit_] * chance - 1e-9 * rules.needed_ms[0, exit_]
        if value > found:
            best, found = exit_, value
    return best
