"""How the planner's reasons are put into words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetson.scheduling.explain import Explanation

NAMED = 3
"""Of the actions that are not taken, so many are told with their values."""
GO_ON, STOP_HERE = "go on", "stop"


def milliseconds(ms: float) -> str:
    """To three digits."""
    return f"{ms:.{max(0, 2 - math.floor(math.log10(abs(ms))))}f} ms" if abs(ms) >= 1e-3 else "0 ms"


def percent(share: float) -> str:
    """To a tenth, and what is less but not nothing as such."""
    return f"{100 * share:.1f} %" if share >= 5e-4 or share <= 0.0 else "< 0.1 %"


def doing(action: str) -> str:
    """An action as a part of a sentence."""
    return {GO_ON: "going on", STOP_HERE: "stopping"}.get(action, f"running {action} now")


def time_words(ms: float, told: bool) -> str:
    """What is left of a budget that is told, or has passed where none is."""
    if not told:
        return f"{milliseconds(ms)} after the frame came"
    if ms < 0.0:
        return f"{milliseconds(-ms)} too late"
    return f"{milliseconds(ms)} left" if ms < math.inf else "no limit"


def straight_words(time: str, name: str, value: float, others: Sequence[tuple[str, float]]) -> str:
    """What is enqueued at once, in a sentence."""
    options = ", ".join(f"{other} {v:.3f}" for other, v in others)
    instead = f"; to the others: {options}" if options else ""
    return f"at the start, {time}: the whole path to {name} is enqueued at once, worth {value:.3f}{instead}"


def step_words(
    where: str, time: str, in_hand: str, action: str, value: float, others: Sequence[tuple[str, float]]
) -> str:
    """One boundary in a sentence.

    Args:
        where: the boundary.
        time: that is left or has passed.
        in_hand: the answer in hand.
        action: that is taken.
        value: of it.
        others: actions that are not, with theirs, the best first.
    """
    digits = 3
    while others and digits < 5 and f"{value:.{digits}f}" == f"{others[0][1]:.{digits}f}":
        digits += 1
    options = "".join(f", {doing(a)} {v:.{digits}f}" for a, v in others[:NAMED])
    rest = f", {len(others) - NAMED} more less" if len(others) > NAMED else "" if others else ", the only way"
    return f"{where}, {time}, {in_hand}: {doing(action)} is worth {value:.{digits}f}{options}{rest}"


def budget_words(told: Explanation) -> str:
    """The budget."""
    if told.budget_ms is None:
        return "no limit" if told.told else "unknown budget"
    return f"budget {told.budget_ms:.4g} ms" + ("" if told.told else ", not told")


def lines(told: Explanation) -> list[str]:
    """An explanation, line by line."""
    classify = told.metric == "accuracy"
    if told.quality is None:
        right = "no answer in time"
    elif classify:
        right = f"{percent(told.worth)} answered in time and right"
    else:
        right = f"{told.metric.replace('_', ' ')} {told.quality:.4g} of the answers in time"
    found = [
        f"{budget_words(told)}: {right}, {percent(told.miss)} late; value {told.value:.3f}; "
        f"{milliseconds(told.compute_ms)} of computing and {told.branches:.2f} branches a frame",
        "answers: "
        + ", ".join(f"{e.name} {percent(e.in_time + e.late)}" for e in told.exits if e.in_time + e.late > 0),
    ]
    if abs(told.slowdown - 1.0) > 5e-4:
        found.append(f"the device is taken to be {told.slowdown:.3g} times as slow as profiled")
    if told.tau > 1.0005:
        found.append(f"for the promised miss rate, time is taken for {told.tau:.3g} times shorter")
    if told.can_be_met is False:
        found.append("the quickest exit cannot be relied on to meet this budget, so that no promise speaks of it")
    share = told.steps[-1].chance
    likely = f"the most likely way, where {percent(share)} of the answers lead" if share < 0.9995 else "the way"
    return [*found, f"{likely}, when every unit takes its median:", *(f"  {step.words}" for step in told.steps)]
