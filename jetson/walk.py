"""One frame's way from boundary to boundary: the policy decides, an engine runs a unit, the policy is told."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.answer import UnitRun
from jetson.confidence import Belief, all_finite, believe
from jetson.engines import Engines
from jetson.errors import EngineError, PathError
from jetson.manifest import Exit, Manifest
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.induction import Late
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import ADVANCE, END, STOP, Foreseen, Policy, State

Ran = tuple[int, float, float, float, float, float | None]
"""A unit that ran: its index; the boundary before it, when it began and ended, the boundary after it, all in seconds;
and its milliseconds on the GPU."""


class InHand(NamedTuple):
    """The answer of one exit, counted from 0."""

    exit: int
    output: npt.NDArray[np.float32]
    belief: Belief | None
    """None in regression."""
    since: float
    """The moment it was had, in seconds."""


class Told(NamedTuple):
    """The budget as a policy was told it."""

    deadline: float
    """At first, in seconds."""
    changed_at: float
    """When it was first seen to be another, or to be cut; infinite for never."""
    known: bool


class Walked(NamedTuple):
    """What a frame came to."""

    hand: InHand
    trace: list[UnitRun]
    error: str | None
    """Of an engine that failed while there was an answer all the same."""
    told: Told


class Went(NamedTuple):
    """Units that ran without the policy being asked in between."""

    units: list[tuple[int, float, float, float]]
    """Of each its index, the boundary before it, when it began and ended, in seconds."""
    stopped: bool
    """Whether the policy has foreseen that it would stop now."""
    unit: int
    """The last one that was begun."""
    error: EngineError | None
    """Of the last one."""


class Walker:
    """Runs the units of one bundle."""

    def __init__(self, manifest: Manifest, engines: Engines, ahead: bool, late: Late) -> None:
        """Put the parts together.

        Args:
            manifest: of the bundle.
            engines: its units, loaded.
            ahead: whether to enqueue the whole path of a known budget.
            late: whether a late answer replaces one that was in hand in time.
        """
        self.engines = engines
        self.paths = Paths.of(manifest)
        self.late = late
        self._ahead = ahead
        first, last = self.paths.segments, self.paths.branches
        self._straight = [(*first[:n], b) for n, b in zip(self.paths.stages, last, strict=True)]
        self._names = [unit.name for unit in manifest.units]
        self._exits = manifest.exits
        self._exit_of = [last.index(unit) if unit in last else -1 for unit in range(len(manifest.units))]

    def run(
        self,
        policy: Policy,
        start: float,
        ready: float,
        budget: Budget,
        tell: Callable[[InHand, list[UnitRun]], None] | None = None,
    ) -> Walked:
        """Run units as the policy says until it stops, the budget is cut, or nothing is left.

        A unit leaves the processor's caches cold, and each line here costs several times what it would in a loop: what
        can wait until the policy must be asked again, or until the frame's end, does.
        """
        state, segments = State(), self.paths.segments
        hand: InHand | None = None
        ran: list[Ran] = []
        boundary = ready
        told = Told(budget.deadline(start), math.inf, budget.kind != "unknown")
        while True:
            # In this order: a revision in between makes the limit finite, which is never taken for "no limit".
            changes = budget.origin.changes
            state.known = budget.kind != "unknown"
            deadline = budget.deadline(start)
            cut = budget.was_cut
            state.remaining_ms = (deadline - boundary) * 1e3
            state.elapsed_ms = (boundary - start) * 1e3
            if (cut or deadline != told.deadline) and told.changed_at == math.inf:
                told = told._replace(changed_at=boundary)
            if self._ahead and state.stage == 0 and not cut:
                committed = policy.commit(state)
                if committed is not None:
                    return Walked(*self._run_straight(policy, committed, start), told)
            action = STOP if cut else policy.decide(state)
            foreseen: Foreseen | None = None
            if action != STOP and not (action == ADVANCE and state.stage == len(segments)):
                foreseen = policy.foresee(state, action, tell is None)
            elif hand is not None:
                return Walked(hand, self._trace(ran, start), None, told)
            else:
                action = self._nearest(state.stage)
            first = segments[state.stage] if action == ADVANCE else self.paths.branches[action]
            counts_until = self._counts_until(start, budget)
            went = self._go(first, foreseen, boundary, start, budget.origin, changes)
            error, failed, last = went.error, went.unit, len(went.units) - 1
            for place, (unit, before, began, now) in enumerate(went.units):
                ended, exit_ = now, self._exit_of[unit]
                unread = place < last or went.stopped or went.error is not None
                if exit_ < 0:
                    state.stage += 1
                else:
                    try:
                        found = self._read(exit_, unit, hand)
                    except EngineError as unreadable:
                        error, failed = error or unreadable, unit
                        continue
                    if unread:
                        found = found._replace(since=ended)
                    else:
                        now, counts_until = clock(), self._counts_until(start, budget)
                    if hand is None or found.since <= counts_until:
                        hand = found
                        if tell is not None:
                            tell(hand, self._trace(ran, start))
                    state.answered = exit_
                    state.said = float(found.output[0]) if found.belief is None else found.belief.logit
                    state.confidence = math.nan if found.belief is None else found.belief.confidence
                gpu_ms = self.engines.gpu_ms(unit)
                ran.append((unit, before, began, ended, now, gpu_ms))
                policy.observe(unit, (now - before) * 1e3, gpu_ms, exit_ >= 0 and unread)
                boundary = now
            if error is not None:
                trace = self._trace(ran, start)
                hand = hand or self._rescue(state.stage, failed, error, start, trace)
                return Walked(hand, trace, str(error), told)
            assert hand is not None or not went.stopped
            if hand is not None and went.stopped:
                return Walked(hand, self._trace(ran, start), None, told)
            if last > 0:
                boundary = clock()  # what was put off until now is no unit's time

    def _go(
        self, unit: int, foreseen: Foreseen | None, boundary: float, start: float, budget: Budget, changes: int
    ) -> Went:
        """Run a unit, and those foreseen after it while the budget stays as it is.

        Args:
            unit: to run first.
            foreseen: tells which follow.
            boundary: the moment from which the first unit's time counts.
            start: of the frame.
            budget: that may change meanwhile.
            changes: of it that were known of when they were foreseen.
        """
        run = self.engines.run
        units: list[tuple[int, float, float, float]] = []
        try:
            began = clock()
            run(unit)
            ended = clock()
            for following, least, most, earliest, latest in () if foreseen is None else foreseen.steps:
                units.append((unit, boundary, began, ended))
                certain = least <= ended - boundary <= most and earliest <= ended - start <= latest
                if not (certain or (foreseen and foreseen.holds(units, start))) or budget.changes != changes:
                    return Went(units, False, unit, None)
                if following == END:
                    return Went(units, True, unit, None)
                boundary, unit = ended, following
                began = clock()
                run(unit)
                ended = clock()
        except EngineError as error:
            return Went(units, False, unit, error)
        units.append((unit, boundary, began, ended))
        return Went(units, False, unit, None)

    def _trace(self, ran: Sequence[Ran], start: float) -> list[UnitRun]:
        """What ran, in milliseconds from the frame's start."""
        return [
            UnitRun(self._names[unit], (began - start) * 1e3, (ended - began) * 1e3, (now - boundary) * 1e3, gpu_ms)
            for unit, boundary, began, ended, now, gpu_ms in ran
        ]

    def _counts_until(self, start: float, budget: Budget) -> float:
        """The moment after which another answer does not replace the one in hand."""
        if budget.kind == "unknown" or self.late == "best-so-far":
            return min(budget.deadline(start), budget.cut_at)
        return math.inf

    def _run_straight(self, policy: Policy, exit_: int, start: float) -> tuple[InHand, list[UnitRun], str | None]:
        """Run the whole path to an exit in one go."""
        path, trace = self._straight[exit_], list[UnitRun]()
        began = clock()
        try:
            self.engines.run_path(path)
            ended = clock()
            hand = self._read(exit_, path[-1])
        except EngineError as error:
            finished = error.finished if isinstance(error, PathError) else len(path) - 1
            return self._rescue(finished, path[finished], error, start, trace), trace, str(error)
        on_gpu = [self.engines.gpu_ms(unit) for unit in path]
        weights = [1.0 if ms is None else ms for ms in on_gpu]
        scale = (ended - began) * 1e3 / (sum(weights) or 1.0)
        at = (began - start) * 1e3
        for unit, weight, gpu_ms in zip(path, weights, on_gpu, strict=True):
            trace.append(UnitRun(self._names[unit], at, weight * scale, weight * scale, gpu_ms))
            at += weight * scale
            policy.observe(unit, None, gpu_ms)
        return hand, trace, None

    def _rescue(self, stage: int, failed: int, error: EngineError, start: float, trace: list[UnitRun]) -> InHand:
        """An answer after a unit failed with none in hand: the best branch here, whose tokens are still there."""
        here = [e for e, needs in enumerate(self.paths.stages) if needs == stage and self.paths.branches[e] != failed]
        for exit_ in sorted(here, key=lambda e: -self.paths.quality[e]):
            unit, began = self.paths.branches[exit_], clock()
            with contextlib.suppress(EngineError):
                self.engines.run(unit)
                elapsed_ms = (clock() - began) * 1e3
                hand = self._read(exit_, unit)
                at, gpu_ms = (began - start) * 1e3, self.engines.gpu_ms(unit)
                trace.append(UnitRun(self._names[unit], at, elapsed_ms, elapsed_ms, gpu_ms))
                return hand
        raise error

    def _nearest(self, stage: int) -> int:
        """The way to the first exit that can still be had: its branch when it is here, else the next segment."""
        for exit_, needs in enumerate(self.paths.stages):
            if needs >= stage:
                return exit_ if needs == stage else ADVANCE
        raise AssertionError("the last exit lies behind every stage")

    def _read(self, exit_: int, unit: int, hand: InHand | None = None) -> InHand:
        # Of two exits after one layer the later may have run first; posteriors know only what comes before.
        before = hand.belief if hand is not None and hand.exit < exit_ else None
        return take(self._exits[exit_], exit_, self._names[unit], self.engines.output(unit)[0], before)


def take(exit_: Exit, index: int, unit: str, output: npt.NDArray[Any], before: Belief | None = None) -> InHand:
    """An answer, from what a branch gave.

    Args:
        exit_: its record.
        index: of the exit.
        unit: the branch's name.
        output: (outputs,); copied.
        before: what was believed of the answer of an earlier exit.

    Raises:
        EngineError: a value is NaN or infinite.
    """
    copied = np.array(output, np.float32)
    if not all_finite(copied):
        raise EngineError(f"unit {unit} gave NaN or infinite values")
    if exit_.temperature is None:
        return InHand(index, copied, None, clock())
    return InHand(index, copied, believe(copied, exit_.temperature, exit_.posterior, before), clock())
