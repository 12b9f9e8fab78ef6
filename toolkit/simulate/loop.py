"""One frame after another through the shipped rules, without engines: what `jetson.walk` does, over numbers alone.

Everything here is plain Python that numba can compile, rules included (`toolkit.simulate.compiled`), so that a
simulation decides by the very code that a device decides by.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.confidence import LIMIT
from jetson.scheduling.learning import begin_frame, end_frame, observe
from jetson.scheduling.memory import HIDDEN_LEVEL, STALL_LEVEL, TARGET
from jetson.scheduling.rules import ADVANCE, GIVEN, PLANNER, STOP, Rules, action_for, column_of
from toolkit.simulate.course import (
    COMPUTED,
    LOOKED,
    STARTED,
    TOOK,
    WEARS_OFF,
    Course,
    Flags,
    Floats,
    Integers,
    Recorded,
    heated,
    in_time,
    look_ahead,
    pace_at,
)

BY_RULES, LATENCY_ORACLE, FULL_ORACLE = range(3)
"""Who decides: the rules, or one of the two that know the future."""


class Forecast(NamedTuple):
    """What the planner's tables hold for a frame that begins; empty for other policies."""

    known: npt.NDArray[np.float32]
    """(stall levels, columns)"""
    hidden: npt.NDArray[np.float32]
    """(kinds of frames before, columns)"""


class Went(NamedTuple):
    """How n frames went; written by `simulate`."""

    exit: Integers
    """(n,): that answered."""
    counted: Integers
    """(n,): the exit whose answer counts; -1 when none was there in time."""
    elapsed_ms: Floats
    """(n,): when the answer was given."""
    compute_ms: Floats
    """(n,): in units."""
    branches: Integers
    """(n,): that ran."""
    feasible: Flags
    """(n,): whether the quickest answer would have been in time."""
    forecast: Floats
    """(n,): value that the planner's table promises at the first boundary; NaN for other policies."""
    decisions: Floats
    """(kept, 6): what the first decisions were taken on: stage, exit in hand, what it says, time left, time gone, and 1
    for a known budget."""

    @classmethod
    def of(cls, frames: int, decisions: int) -> Went:
        """Room for so many frames and decisions."""
        whole, real = [np.zeros(frames, np.int64) for _ in range(3)], [np.zeros(frames) for _ in range(2)]
        flags, forecast = np.zeros(frames, np.bool_), np.full(frames, np.nan)
        return cls(whole[0], whole[1], real[0], real[1], whole[2], flags, forecast, np.zeros((decisions, 6)))


def simulate(
    rules: Rules,
    memory: Floats,
    device: Floats,
    course: Course,
    recorded: Recorded,
    forecast: Forecast,
    went: Went,
    first: int,
    last: int,
    lost: bool,
    oracle: int,
) -> None:
    """Answer the frames from `first` up to `last`, not included.

    Args:
        rules: to decide by.
        memory: what the policy remembers, `jetson.scheduling.memory`; changed.
        device: what the device is like; changed. `new_device` begins.
        course: what befalls the frames.
        recorded: units and answers.
        forecast: the planner's tables at a frame's first boundary.
        went: how each frame went; written.
        first: frame.
        last: frame.
        lost: an answer that is late does not count, whatever was in hand before; else that counts.
        oracle: who decides.
    """
    stages, exits = recorded.segments.shape[0], recorded.branches.shape[0]
    ways_ms = np.zeros(exits)
    for i in range(first, last):
        heat = heated(course, device, i)
        gap_ms = float(course.gap_ms[i])
        if math.isnan(gap_ms):
            gap_ms = max(float(course.t_ms[i]) - device[STARTED] - device[TOOK], 0.0)
        wake = float(course.wake[i])
        known = not course.hidden[i]
        budget_ms = float(course.budget_ms[i])
        sample = course.sample[i]
        look_ahead(rules, device, course, recorded, i, heat, ways_ms)
        quickest_ms = math.inf
        for exit_ in range(exits):
            quickest_ms = min(quickest_ms, float(ways_ms[exit_]))
        went.feasible[i] = in_time(course, i, quickest_ms)
        begin_frame(rules, memory, gap_ms)
        if rules.kind == GIVEN:
            memory[TARGET] = foreseen(rules, course, recorded, i, ways_ms, oracle)

        elapsed_ms = float(course.draws_ms[i, 0]) * pace_at(course, device, i, 0.0) * heat
        told_ms = budget_ms if known else math.inf
        if known and elapsed_ms >= course.revise_at_ms[i]:  # so soon that nobody ever heard of the first one
            told_ms = float(course.revised_ms[i])
        limit_ms, changed_ms = told_ms, math.inf
        if rules.kind == PLANNER:
            went.forecast[i] = foretold(rules, memory, forecast, told_ms - elapsed_ms, elapsed_ms, known)
        compute_ms, branches = 0.0, 0
        stage, answered, said = 0, -1, math.nan
        hand, hand_said, had_ms = -1, 0.0, 0.0
        cut = False
        while True:
            if known and changed_ms == math.inf and elapsed_ms >= course.revise_at_ms[i]:
                limit_ms = float(course.revised_ms[i])
                changed_ms = elapsed_ms if limit_ms != told_ms else math.inf
            if not known and not cut and elapsed_ms > budget_ms:
                cut = True
                changed_ms = budget_ms
            if cut:
                action = STOP
            else:
                left_ms = limit_ms - elapsed_ms
                keep(device, went, stage, answered, said, left_ms, elapsed_ms, known)
                action = action_for(rules, memory, stage, answered, said, left_ms, elapsed_ms, known)
            if hand < 0 and action == STOP:
                action = nearest(rules, stage)
            if hand >= 0 and (action == STOP or (action == ADVANCE and stage == stages)):
                break
            unit = recorded.segments[stage] if action == ADVANCE else recorded.branches[action]
            unit_ms = float(course.draws_ms[i, unit + 1]) * pace_at(course, device, i, elapsed_ms) * heat * (1.0 + wake)
            wake *= WEARS_OFF
            elapsed_ms += unit_ms
            compute_ms += unit_ms
            if action == ADVANCE:
                stage += 1
            else:
                branches += 1
                found = say(recorded, sample, action, hand, hand_said)
                # As `jetson.walk` has it: what comes late does not replace what counts.
                if hand < 0 or (lost and known) or in_time(course, i, elapsed_ms):
                    hand, hand_said, had_ms = action, found, elapsed_ms
                    went.counted[i] = action if in_time(course, i, elapsed_ms) else -1
                answered, said = action, found
            observe(rules, memory, unit, unit_ms)
        if lost and known and not in_time(course, i, elapsed_ms):
            went.counted[i] = -1
        went.exit[i] = hand
        went.elapsed_ms[i] = elapsed_ms
        went.compute_ms[i] = compute_ms
        went.branches[i] = branches
        device[STARTED], device[TOOK], device[COMPUTED] = course.t_ms[i], elapsed_ms, compute_ms
        # Where an earlier answer counts, the frame was answered when that was had.
        end_frame(rules, memory, told_ms, limit_ms, elapsed_ms if lost or not known else had_ms, changed_ms, known)


def foreseen(rules: Rules, course: Course, recorded: Recorded, i: int, ways_ms: Floats, oracle: int) -> int:
    """The exit that an oracle takes: the best of those in time, the quickest of equals or when there are none."""
    best, found, soonest = -1, -math.inf, 0
    for exit_ in range(ways_ms.shape[0]):
        if ways_ms[exit_] < ways_ms[soonest]:
            soonest = exit_
        if not in_time(course, i, float(ways_ms[exit_])):
            continue
        worth = recorded.worth[course.sample[i], exit_] if oracle == FULL_ORACLE else rules.quality[exit_]
        value = float(worth)
        if best < 0 or value > found or (value == found and ways_ms[exit_] < ways_ms[best]):
            best, found = exit_, value
    return soonest if best < 0 else best


def foretold(rules: Rules, memory: Floats, forecast: Forecast, left_ms: float, elapsed_ms: float, known: bool) -> float:
    """The value that the planner's table holds for a frame that begins."""
    column = column_of(rules, memory, 0, left_ms, elapsed_ms, known)
    tables, place = (forecast.known, STALL_LEVEL) if known else (forecast.hidden, HIDDEN_LEVEL)
    return float(tables[min(int(memory[place]), tables.shape[0] - 1), column])


def keep(
    device: Floats, went: Went, stage: int, answered: int, said: float, left_ms: float, elapsed_ms: float, known: bool
) -> None:
    """Note what a decision is taken on, as long as there is room."""
    place = int(device[LOOKED])
    if place >= went.decisions.shape[0]:
        return
    note = went.decisions[place]
    note[0], note[1], note[2], note[3], note[4] = stage, answered, said, left_ms, elapsed_ms
    note[5] = 1.0 if known else 0.0
    device[LOOKED] = place + 1


def nearest(rules: Rules, stage: int) -> int:
    """The way to the first exit that can still be had."""
    for exit_ in range(rules.stages.shape[0]):
        if rules.stages[exit_] == stage:
            return exit_
        if rules.stages[exit_] > stage:
            return ADVANCE
    return ADVANCE


def say(recorded: Recorded, sample: Any, exit_: int, hand: int, hand_said: float) -> float:
    """What an answer says of itself, given the one in hand; `jetson.confidence.believe` on recorded scores."""
    score = float(recorded.score[sample, exit_])
    if not recorded.joins:
        return score
    if 0 <= hand < exit_:
        agrees = recorded.named[sample, exit_] == recorded.named[sample, hand]
        return join(recorded.posterior[exit_, 1], score, hand_said, agrees)
    return join(recorded.posterior[exit_, 0], score, 0.0, False)


def join(posterior: Floats, score: float, before: float, agrees: bool) -> float:
    """The logit of a posterior, from a score and the logit of the answer in hand."""
    backing = posterior[3] + posterior[2] * before if agrees else -posterior[2] * before
    return float(min(max(posterior[0] + posterior[1] * score + backing, -LIMIT), LIMIT))
