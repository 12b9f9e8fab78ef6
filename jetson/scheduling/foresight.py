"""What comes after a decision, as long as no unit is a surprise: deciding between units, stripped to the least.

After a unit the processor's caches hold weights, not the interpreter: code that takes microseconds in a loop takes ten
times that there, and a logarithm alone takes several. So when it is asked anyway, the planner looks ahead along the way
that is to be expected, with all that it has at hand, and leaves steps behind for the boundaries to come.

Each step has windows, for how long the unit before took and when it ended, within which the tables say the same
whatever the filter of `slowdown` makes of the units meanwhile: two comparisons. A unit whose logarithm x lies within r
of the slowdown L moves the filter from L' to (1 - g) L' + g x, with a gain g that only a surprise would change; after
unit k it lies within d_k of L, where d_k = (1 - g_k) d_(k-1) + g_k r_k. Outside of a window the filter is followed as
it is, and only if there is a surprise, or the tables say something else, is the policy asked. What ran is told to it
afterwards, unit by unit: what it remembers and decides is what it would be if it were asked at every boundary.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.scheduling.memory import BOOST, DEADLINE, HIDDEN_LEVEL, LOG, STALL_LEVEL, TAU, VARIANCE
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import END, State, Step
from jetson.scheduling.rules import ADVANCE, SAME_MS, STOP, Rules, bucket_of
from jetson.scheduling.slowdown import DRIFT, LIMIT, SURPRISE

ROUNDING = 1e-9
"""What sums in another order may differ by, relative, and in milliseconds: nearer to a limit than this is behind it."""
USUAL = 2.5
"""Windows are so many standard deviations of the profile wide: the wider, the less they know about the pace."""
UNSURE = -3
"""In place of an action: it depends on what the answer says."""

NEVER = (math.inf, -math.inf, math.inf, -math.inf)
"""Windows that nothing lies in."""

Row = tuple[str, int, int, int, int]
"""Of a table: its name, its level, segments run, the exit in hand or -1, and the bucket of its answer, -1 for any."""


class Check(NamedTuple):
    """Exactly when a step holds."""

    reading_ms: float
    """What reading the answer of the unit before would have taken; 0 of a segment."""
    profiled: float
    """What that unit takes by the profile, milliseconds, and what a pause before the frame adds."""
    limit: float
    """Logarithm: as far as this from what the filter says it is no surprise."""
    gain: float
    """Of the filter."""
    low: float
    """The time at the filter's pace, milliseconds from `Way.origin`, must lie above this"""
    high: float
    """and below this."""
    strays: float
    """Logarithm: as far as this the filter may be off while windows hold."""


class Runs:
    """Where actions change along the columns of the planner's tables; found when first asked for."""

    def __init__(self, rules: Rules) -> None:
        self._tables = {"known": rules.known, "hidden": rules.hidden, "settled": rules.settled[None]}
        self._found: dict[Row, tuple[list[int], list[int]]] = {}

    def at(self, row: Row, column: int) -> tuple[int, int, int]:
        """The action in a column, `UNSURE` where buckets differ, and the first and the last column of its run."""
        found = self._found.get(row)
        if found is None:
            table, level, stage, answered, bucket = row
            found = self._found[row] = _runs(self._tables[table][level, stage, answered + 1], bucket)
        begins, actions = found
        place = bisect_right(begins, column) - 1
        return actions[place], begins[place], begins[place + 1] - 1


def _runs(actions: npt.NDArray[np.int8], bucket: int) -> tuple[list[int], list[int]]:
    """Of (buckets, columns): where runs begin, the end behind the last, and their actions."""
    row = actions[max(bucket, 0)]
    if bucket < 0:
        row = np.where((actions == row).all(axis=0), row, np.int8(UNSURE))
    begins = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist()]
    return [*begins, len(row)], row[begins].tolist()


class Way:
    """The units to be expected, and when they come."""

    def __init__(self, log: float, origin: float, scale: float) -> None:
        """Begin with none.

        Args:
            log: what the filter says now.
            origin: milliseconds from the frame's start, from which `Check.low` and `high` count.
            scale: by which time is taken for longer than it is.
        """
        self.log, self.pace = log, math.exp(log)
        self._origin, self._scale = origin, scale
        self.steps: list[Step] = []
        self._checks: list[Check] = []

    def add(self, unit: int, check: Check, within: float) -> None:
        """Another unit.

        Args:
            unit: to run, or `END`.
            check: when.
            within: logarithm: as far as this the unit before may be off within its window; not above 0 for no window.
        """
        self._checks.append(check)
        usual, pace, slow = check.profiled * self.pace, self.pace * self._scale, math.exp(check.strays)
        # At any pace that there may be. Of moments before the origin the quickest is the one farthest from it.
        low = check.low * pace * (slow if check.low > 0.0 else 1.0 / slow)
        high = check.high * pace * (slow if check.high < 0.0 else 1.0 / slow)
        window = (
            (usual * math.exp(-within) - check.reading_ms + ROUNDING) / 1e3,
            (usual * math.exp(within) - check.reading_ms - ROUNDING) / 1e3,
            (self._origin + low + ROUNDING) / 1e3 if math.isfinite(low) else low,
            (self._origin + high - ROUNDING) / 1e3 if math.isfinite(high) else high,
        )
        self.steps.append((unit, *window) if within > 0.0 else (unit, *NEVER))

    def holds(self, ran: Sequence[tuple[int, float, float, float]], start: float) -> bool:
        """Whether the next step does, by all that is known.

        Args:
            ran: as of `Foreseen.holds`.
            start: of the frame.
        """
        log, off, check = self.log, 0.0, self._checks[len(ran) - 1]
        for (_, before, _, ended), c in zip(ran, self._checks, strict=False):
            took_ms = (ended - before) * 1e3 + c.reading_ms
            if took_ms <= 0.0:
                return False
            off = math.log(took_ms / c.profiled) - log
            log += c.gain * off
        if not abs(off) < check.limit:
            return False
        if abs(log - self.log) > check.strays:
            for place in range(len(ran), len(self.steps)):
                self.steps[place] = (self.steps[place][0], *NEVER)
        moment = ((ended - start) * 1e3 - self._origin) / (math.exp(log) * self._scale)
        near = ROUNDING * max(abs(moment), 1.0) if math.isfinite(moment) else 0.0
        return check.low + near < moment < check.high - near


class Foresight:
    """Looks ahead in one set of rules."""

    def __init__(self, rules: Rules, viewed: Any, paths: Paths) -> None:
        """Of the planner's rules.

        Args:
            rules: with arrays.
            viewed: the same, as `jetson.scheduling.ruled.viewed` gives them.
            paths: of the bundle.
        """
        self._rules, self._runs = viewed, Runs(rules)
        self._segments, self._branches = paths.segments, paths.branches
        self._last_known, self._last_hidden = rules.settled.shape[3] - 1, rules.hidden.shape[4] - 1
        self._levels = {"known": rules.known.shape[0] - 1, "hidden": rules.hidden.shape[0] - 1, "settled": 0}

    def way(self, memory: Any, state: State, action: int, through_answers: bool) -> Way | None:
        """What follows an action that was just decided on; None when that cannot be told.

        Args:
            memory: what is remembered, after the decision.
            state: as in the decision.
            action: what was decided: to run a unit.
            through_answers: whether to look on behind a branch, whose answer nobody will have read then.
        """
        rules, known = self._rules, state.known
        stage, answered = state.stage, state.answered
        bucket = bucket_of(rules, answered, state.said)
        origin, scale, limits = rules.before_ms, 1.0, self._untold
        table, level = "hidden", int(memory[HIDDEN_LEVEL])
        if known:
            origin, limits = state.remaining_ms + state.elapsed_ms, self._told
            scale = math.exp(max(memory[TAU], rules.least_tau))
            revised = origin != memory[DEADLINE] and abs(origin - memory[DEADLINE]) > SAME_MS
            table, level = ("settled", 0) if revised else ("known", int(memory[STALL_LEVEL]))
        level = min(level, self._levels[table])
        way = Way(memory[LOG], origin, scale)
        boost, moment = memory[BOOST], state.elapsed_ms
        variance, strays = memory[VARIANCE], 0.0
        while True:
            reading_ms = 0.0
            if action == ADVANCE:
                unit = self._segments[stage]
                stage += 1
            elif through_answers:
                unit, answered, bucket = self._branches[action], action, -1
                reading_ms = rules.reading_ms[unit]
            else:
                break
            # The filter of `observe_unit`, of a unit that is no surprise.
            profiled, noise = rules.profiled_ms[unit], rules.variance[unit]
            variance += DRIFT
            limit = SURPRISE * math.sqrt(variance + noise) * (1.0 - ROUNDING)
            if not (profiled > 0.0 and abs(way.log) + abs(boost) + limit < LIMIT):
                break
            gain = variance / (variance + noise)
            variance *= 1.0 - gain
            within = min(USUAL * math.sqrt(noise), limit - strays)
            strays = (1.0 - gain) * strays + gain * within
            if boost:
                profiled *= math.exp(boost)
                boost *= 0.5
            pause_ms = 2.0 * rules.next_ms[stage] * (math.exp(boost) - 1.0) if boost else 0.0
            moment += profiled * way.pace - reading_ms
            row = (table, level, stage, answered, bucket)
            action, low, high = limits(row, (moment - origin) / (way.pace * scale), pause_ms)
            if action == UNSURE:
                break
            following = END
            if action == ADVANCE:
                if stage == len(self._segments):
                    break
                following = self._segments[stage]
            elif action != STOP:
                following = self._branches[action]
            elif answered < 0:
                break
            way.add(following, Check(reading_ms, profiled, limit, gain, low, high, strays), within)
            if action == STOP:
                break
        return way if way.steps else None

    def _told(self, row: Row, moment_ms: float, pause_ms: float) -> tuple[int, float, float]:
        """The action of a known budget at a moment, and between which moments it is the same.

        Args:
            row: of the table.
            moment_ms: at the pace of the profile, from the deadline on.
            pause_ms: what the pause before the frame still costs.
        """
        step, last = self._rules.step_ms, self._last_known
        column = 0
        if moment_ms <= 0.0:
            column = min(int(min(max(-moment_ms - pause_ms, 0.0) / step, last)) + 1, last)
        action, first, final = self._runs.at(row, column)
        low, high = -math.inf, math.inf
        if first > 0:
            high = min(-((first - 1) * step + pause_ms), 0.0) if first > 1 else 0.0
        if final < last:
            low = -(final * step + pause_ms) if final else 0.0
        return action, low, high

    def _untold(self, row: Row, moment_ms: float, pause_ms: float) -> tuple[int, float, float]:
        """The same of a budget that nobody knows, where moments count from the first boundary."""
        step, last = self._rules.hidden_step_ms, self._last_hidden
        gone_ms = max(max(moment_ms, 0.0) + pause_ms, 0.0)
        column = max(last - int(min(gone_ms / step, last)), 0)
        action, first, final = self._runs.at(row, column)
        low, high = -math.inf, math.inf
        if final < last and (least := (last - final) * step - pause_ms) > 0.0:
            low = least
        if first > 0 and (high := (last - first + 1) * step - pause_ms) <= 0.0:
            high = -math.inf
        return action, low, high
