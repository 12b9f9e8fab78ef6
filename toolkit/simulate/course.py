"""What befalls a frame in a simulation, whoever decides: budgets, latencies, the pace of the device.

Plain Python that numba can compile, as in `toolkit.simulate.loop`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.scheduling.rules import Rules

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STARTED, TOOK, COMPUTED, HEAT, THROTTLED, PLACE, LOOKED = range(7)
"""Places of what a run remembers of the device: when the last frame began, how long it took until its answer and in
units, heat, whether it is throttled, where in the list of changes it is, and how many decisions were kept."""
DEVICE = 7
WEARS_OFF = 0.35
"""What is left, from unit to unit, of the time that waking up adds."""


class Course(NamedTuple):
    """What befalls a block of n frames, the same for every policy. Times in milliseconds."""

    t_ms: Floats
    """(n,): when the frame begins; what the device does then depends on this alone, so that policies stay paired."""
    gap_ms: Floats
    """(n,): since the last answer; NaN: as long as that answer left."""
    budget_ms: Floats
    revise_at_ms: Floats
    """(n,): infinite for never."""
    revised_ms: Floats
    hidden: Flags
    """(n,): the budget is not told."""
    wake: Floats
    """(n,): by what share the first unit takes longer after a pause."""
    sample: Integers
    """(n,): whose recorded answers the frame has."""
    draws_ms: npt.NDArray[np.float32]
    """(n, 1 + units): time of preprocessing, then of every unit, at the pace of the profile."""
    change_ms: Floats
    """(m,): moments at which the pace changes; the first is minus infinity."""
    pace: Floats
    """(m,): from then on, over the profile's."""
    heat: Floats
    """(4,): time constant, heat at which throttling begins, at which it ends, and its factor; the first 0 for none."""


class Recorded(NamedTuple):
    """Units and recorded answers of one bundle."""

    segments: Integers
    """(stages,): index of the unit."""
    branches: Integers
    """(exits,): index of the unit."""
    worth: Floats
    """(samples, exits): of the answer, 1 for the best there can be."""
    named: npt.NDArray[np.int32]
    """(samples, exits): class; 0 in regression."""
    score: npt.NDArray[np.float32]
    """(samples, exits): what an answer says of itself alone: a logit, or in regression its first output."""
    posterior: Floats
    """(exits, 2, 4): bias, factor of the score, of the logit in hand, and for agreeing; without and with an answer in
    hand."""
    joins: bool
    """False in regression: there, what is in hand says nothing of what comes."""


def new_device() -> Floats:
    """A device before its first frame."""
    device = np.zeros(DEVICE)
    device[STARTED] = -math.inf
    return device


def heated(course: Course, device: Floats, i: int) -> float:
    """The pace that heat leaves: it goes to the share of time spent computing, of the slower clock when throttled."""
    if course.heat[0] <= 0.0:
        return 1.0
    if device[STARTED] > -math.inf:
        passed_ms = max(float(course.t_ms[i]) - device[STARTED], device[TOOK], 1e-9)
        share = min(device[COMPUTED] / passed_ms, 1.0)
        if device[THROTTLED] > 0.0:
            share /= course.heat[3]
        device[HEAT] += (1.0 - math.exp(-passed_ms / course.heat[0])) * (share - device[HEAT])
    if device[HEAT] >= course.heat[1]:
        device[THROTTLED] = 1.0
    elif device[HEAT] <= course.heat[2]:
        device[THROTTLED] = 0.0
    return float(course.heat[3]) if device[THROTTLED] > 0.0 else 1.0


def pace_at(course: Course, device: Floats, i: int, elapsed_ms: float) -> float:
    """The pace at a moment of a frame."""
    moment = course.t_ms[i] + elapsed_ms
    place, changes = int(device[PLACE]), course.change_ms.shape[0]
    while place + 1 < changes and course.change_ms[place + 1] <= moment:
        place += 1
    while place > 0 and course.change_ms[place] > moment:
        place -= 1
    device[PLACE] = place
    return float(course.pace[place])


def in_time(course: Course, i: int, moment_ms: float) -> bool:
    """Whether an answer at this moment of the frame is within the budget as it then is."""
    if course.hidden[i] or moment_ms < course.revise_at_ms[i]:
        return bool(moment_ms <= course.budget_ms[i])
    return bool(moment_ms <= course.revised_ms[i])


def look_ahead(
    rules: Rules, device: Floats, course: Course, recorded: Recorded, i: int, heat: float, ways_ms: Floats
) -> None:
    """Fill in when each exit would answer if the frame went straight there."""
    stages, exits = recorded.segments.shape[0], recorded.branches.shape[0]
    elapsed_ms = float(course.draws_ms[i, 0]) * pace_at(course, device, i, 0.0) * heat
    wake = float(course.wake[i])
    for stage in range(stages + 1):
        pace = pace_at(course, device, i, elapsed_ms) * heat * (1.0 + wake)
        for exit_ in range(exits):
            if rules.stages[exit_] == stage:
                ways_ms[exit_] = elapsed_ms + float(course.draws_ms[i, recorded.branches[exit_] + 1]) * pace
        if stage < stages:
            elapsed_ms += float(course.draws_ms[i, recorded.segments[stage] + 1]) * pace
            wake *= WEARS_OFF
