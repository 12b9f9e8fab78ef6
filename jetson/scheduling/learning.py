"""What a policy learns from whole frames: whether promises hold, how budgets are revised, when unknown ones run out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jetson.scheduling.induction import Revisions
from jetson.scheduling.memory import (
    AFTER,
    AFTER_KINDS,
    BEFORE_MS,
    BEGAN,
    CUT_BINS,
    CUTS,
    EXPOSED,
    FRAMES,
    HIDDEN_LEVEL,
    IDLE,
    KALMAN,
    LEFT,
    LOG,
    PAUSE,
    PROFILED,
    RAN_MS,
    RATIO_BINS,
    RATIOS,
    REVISED,
    STALLED,
    STALLED_MS,
    TARGET,
    TAU,
    TOOK,
)
from jetson.scheduling.rules import ALERT, DEEPEST, PLANNER, Rules, choose_level
from jetson.scheduling.slowdown import begin_pause, forget_stalls, observe_unit
from jetson.scheduling.trace import LATEST_MS

Memory = npt.NDArray[np.float64]

FORGET = 0.995
"""What a frame counts when the next one has ended; half after 138 frames."""
GAIN = 0.08
"""How far one late answer moves the logarithm of tau."""
CAREFUL = 0.6
"""Of the promised miss rate is aimed at, so that chance does not break the promise."""
SPARE = 1.5
"""Budgets of so many times the shortest way leave time to spare,"""
MIGHT = 0.15
"""and an answer that was late all the same, by the shortest way, counts as so much of a broken promise."""
MOST_TAU = math.log(32.0)
CREDIT = 0.24
"""Answers in time earn so much, about three late ones, before time is taken for shorter than calibrated."""
SHORTEST = 1.02
"""A way that is this much longer at most is as short as the shortest."""
RATIO_STEP = 0.125
LEAST_LEFT = 0.02
"""Share of a budget that is taken to be left at least, where its logarithm is asked for."""
LEAST_STALLS = 2.0
"""Stalls of late that say something."""
SELDOM = 0.005
"""Share of frames below which revisions are taken for accidents."""
PRIOR_FRAMES = 16.0
"""What the guess about unknown budgets weighs, in frames."""
FORGET_AFTER = 0.98
"""What a frame counts among those that came after one like it, when the next such frame has ended."""
PRIOR_AFTER = 1.0
"""What all unknown budgets together weigh beside those that came after one like the last, in frames."""


def begin_frame(rules: Rules, memory: Memory, gap_ms: float) -> None:
    """A frame begins, so long after the last answer."""
    begin_pause(memory, gap_ms)
    if rules.kind in (DEEPEST, ALERT):
        memory[TARGET] = -1.0
    choose_level(rules, memory)
    memory[HIDDEN_LEVEL] = kind_before(rules, memory) + 1


def observe(rules: Rules, memory: Memory, unit: int, elapsed_ms: float) -> None:
    """A unit, by index, has run, from boundary to boundary in so many milliseconds."""
    observe_time(memory, elapsed_ms, rules.profiled_ms[unit], rules.variance[unit])


def observe_time(memory: Memory, elapsed_ms: float, profiled_ms: float, variance: float) -> None:
    """A unit has taken so many milliseconds instead of so many; `variance` is that of its logarithm as profiled."""
    memory[PROFILED] += profiled_ms
    memory[TOOK] += elapsed_ms
    observe_unit(memory, elapsed_ms, profiled_ms, variance)


def end_frame(
    rules: Rules,
    memory: Memory,
    budget_ms: float,
    final_ms: float,
    elapsed_ms: float,
    revised_at_ms: float,
    known: bool,
) -> None:
    """A frame has ended.

    Args:
        rules: that decided.
        memory: what is remembered.
        budget_ms: as it was told at first; infinite without a limit.
        final_ms: as it stood at the end.
        elapsed_ms: when the answer was given; of a budget that nobody knew, when it ran out if it did.
        revised_at_ms: when it became another; when one that nobody knew ran out; infinite for never.
        known: whether the budget was told.
    """
    if rules.kind == ALERT and memory[PROFILED] > 0.0:
        alert_observe(memory, memory[TOOK] / memory[PROFILED])
    memory[TARGET] = -1.0
    forget_stalls(memory)
    if rules.kind != PLANNER:
        return
    if not known:
        remember_end(rules, memory, min(elapsed_ms, revised_at_ms), revised_at_ms <= elapsed_ms)
        return
    if final_ms == math.inf and budget_ms == math.inf:
        return
    # After a pause no answer is as quick as usual. The pace is that at the frame's beginning: what made this frame late
    # must not excuse it.
    after_pause = max(memory[IDLE + int(memory[PAUSE])], 0.0)
    least_ms = rules.shortest_ms * math.exp(memory[BEGAN] + after_pause)
    late = elapsed_ms > final_ms
    # If time was short and the shortest way was late, no answer could be had. Nor when somebody cut the budget: nobody
    # promised to know that. With time to spare the shortest way stalled, and a longer one might have been in time.
    was_cut = final_ms <= revised_at_ms <= elapsed_ms
    went_short = memory[PROFILED] <= SHORTEST * rules.shortest_ms
    hopeless = late and (was_cut or (went_short and final_ms < SPARE * least_ms))
    missed = 0.0
    if late:
        missed = MIGHT if went_short else 1.0
    if rules.miss_rate > 0.0 and not hopeless and final_ms >= least_ms:
        moved = memory[TAU] + GAIN * (missed - CAREFUL * rules.miss_rate)
        memory[TAU] = max(rules.least_tau - CREDIT, min(MOST_TAU, moved))
    memory[FRAMES : RATIOS + RATIO_BINS] *= FORGET
    memory[FRAMES] += 1.0
    if 0.0 < budget_ms < math.inf:
        left = 1.0 - min(elapsed_ms, revised_at_ms) / budget_ms
        memory[EXPOSED] -= math.log(max(left, LEAST_LEFT))
    if revised_at_ms <= elapsed_ms and budget_ms < math.inf:
        memory[REVISED] += 1.0
        before, after = budget_ms - revised_at_ms, final_ms - revised_at_ms
        ratio = after / before if before > 0.0 else 1.0
        place = 0 if after < 0.0 else min(1 + int(min(max(ratio, 0.0), 100.0) / RATIO_STEP), RATIO_BINS - 1)
        memory[RATIOS + place] += 1.0


def alert_observe(memory: Memory, ratio: float) -> None:
    """ALERT's filter after a frame: measured over profiled time of the whole frame, whose noise is adapted."""
    mean, variance, noise = memory[KALMAN], memory[KALMAN + 1], memory[KALMAN + 2]
    gain = (variance + noise) / (variance + noise + 0.001)
    error = ratio - mean
    memory[KALMAN] = mean + gain * error
    memory[KALMAN + 1] = max((1.0 - gain) * (variance + noise) + 0.001, 1e-6)
    memory[KALMAN + 2] = max(0.3 * noise + 0.7 * (gain * error) ** 2, 1e-5)


def remember_end(rules: Rules, memory: Memory, moment_ms: float, ran_out: bool) -> None:
    """A frame whose budget nobody knew has ended.

    Args:
        rules: that decided.
        memory: what is remembered.
        moment_ms: from the frame's start.
        ran_out: whether the budget ended then; else the frame was answered, and the budget ended later.
    """
    moment = max(moment_ms - rules.before_ms, 0.0) / math.exp(memory[LOG])
    place = min(int(moment / reach_ms(rules) * CUT_BINS), CUT_BINS - 1) + (0 if ran_out else CUT_BINS)
    memory[CUTS : LEFT + CUT_BINS] *= FORGET
    memory[CUTS + place] += 1.0
    kind = int(memory[HIDDEN_LEVEL]) - 1
    if kind >= 0:
        begin = AFTER + kind * 2 * CUT_BINS
        memory[begin : begin + 2 * CUT_BINS] *= FORGET_AFTER
        memory[begin + place] += 1.0
    memory[BEFORE_MS] = moment_ms if ran_out else math.inf


def begin_with(rules: Rules, memory: Memory, budgets_ms: Sequence[float]) -> None:
    """Take these for unknown budgets that came one after another; an infinite one for one that did not run out."""
    for ms in budgets_ms:
        memory[HIDDEN_LEVEL] = kind_before(rules, memory) + 1
        remember_end(rules, memory, min(ms, LATEST_MS), ms < math.inf)


def kind_before(rules: Rules, memory: Memory) -> int:
    """Which kind of frame the last one was whose budget nobody knew, by its end as it would be at the present pace.

    -1 when there was none.
    """
    before_ms = memory[BEFORE_MS]
    if before_ms < 0.0 or rules.kind != PLANNER:
        return -1
    if before_ms == math.inf:
        return AFTER_KINDS - 1
    moment = max(before_ms - rules.before_ms, 0.0) / math.exp(memory[LOG])
    if moment <= rules.shortest_ms:
        return 0
    share = math.log(moment / rules.shortest_ms) / math.log(max(reach_ms(rules) / rules.shortest_ms, 1.001))
    return int(min(1 + int(share * (AFTER_KINDS - 2)), AFTER_KINDS - 2))


def reach_ms(rules: Rules) -> float:
    """How far the tables for unknown budgets reach."""
    return float(rules.hidden_step_ms * (rules.hidden.shape[4] - 2))


def revisions(memory: Memory) -> Revisions | None:
    """How budgets are revised, as far as frames have shown; None when they are not."""
    if memory[REVISED] <= SELDOM * memory[FRAMES] or memory[EXPOSED] <= 0.0:
        return None
    counts = memory[RATIOS : RATIOS + RATIO_BINS]
    if counts.sum() <= 0.0:
        return None
    ratios = (-1.0, *(RATIO_STEP * (i + 0.5) for i in range(RATIO_BINS - 1)))
    return Revisions(float(memory[REVISED] / memory[EXPOSED]), ratios, tuple((counts / counts.sum()).tolist()))


def stalls(memory: Memory, usual: float) -> tuple[float, float]:
    """How often the device stalls beyond the usual, per millisecond as profiled, and what a stall takes, milliseconds.

    Args:
        memory: what is remembered.
        usual: stalls per millisecond on the device as profiled.
    """
    count = float(memory[STALLED])
    if count < LEAST_STALLS:
        return 0.0, 0.0
    return max(count / max(float(memory[RAN_MS]), 1e-9) - usual, 0.0), float(memory[STALLED_MS]) / count


def survival(
    memory: Memory, quickest_ms: float, step_ms: float, points: int, kind: int = -1
) -> npt.NDArray[np.float64]:
    """Probability that a budget which nobody knows has not run out, as `induction.solve` takes it.

    The hazard per stretch of time (Kaplan and Meier 1958) from what frames have shown, beside a guess that counts as
    a few frames: every order of magnitude between the quickest answer and all units together is as likely. For what
    comes after one kind of frame the guess is what all frames have shown.

    Args:
        memory: what is remembered.
        quickest_ms: the quickest answer's time, as profiled.
        step_ms: of the grid of time.
        points: of the grid.
        kind: of the frame before, `kind_before`; -1 for any.

    Returns:
        (points,), by the time to the last point's moment: the first is where it has run out for certain.
    """
    reach = step_ms * (points - 1)
    bounds = np.linspace(0.0, reach, CUT_BINS + 1)
    shortest = min(0.8 * quickest_ms, 0.5 * reach)
    guess = 1.0 - np.clip(np.log(np.maximum(bounds, 1e-12) / shortest) / math.log(reach / shortest), 0.0, 1.0)
    alive = _beside(guess, PRIOR_FRAMES, memory[CUTS : LEFT + CUT_BINS])
    if kind >= 0:
        alive = _beside(alive, PRIOR_AFTER, ends_after(memory, kind))
    moments = reach - step_ms * np.arange(points)
    found: npt.NDArray[np.float64] = np.interp(moments, bounds, alive)
    return found


def ends_after(memory: Memory, kind: int) -> npt.NDArray[np.float64]:
    """(2 * CUT_BINS,): the histograms of frames that came after one of this kind; a view."""
    found: npt.NDArray[np.float64] = memory[AFTER + kind * 2 * CUT_BINS :][: 2 * CUT_BINS]
    return found


def _beside(guess: npt.NDArray[np.float64], weight: float, ends: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(CUT_BINS + 1,): survival from moments at which budgets ended or were seen last, beside a guess in frames."""
    cuts, left = ends[:CUT_BINS], ends[CUT_BINS:]
    at_risk = np.cumsum((cuts + left)[::-1])[::-1] - 0.5 * left
    hazard = (cuts + weight * -np.diff(guess)) / np.maximum(at_risk + weight * guess[:-1], 1e-9)
    found: npt.NDArray[np.float64] = np.concatenate([[1.0], np.cumprod(1.0 - np.clip(hazard, 0.0, 1.0))])
    return found
