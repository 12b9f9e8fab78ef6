"""Runtime: a frame and a budget become an answer.

One frame's way: preprocess -> the policy decides -> an engine runs a unit -> the policy is told the time it took ->
the policy decides -> ... -> Answer.
"""

from __future__ import annotations

import contextlib
import math
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.answer import Answer, UnitRun
from jetson.bundle import Bundle
from jetson.confidence import Belief, believe
from jetson.engines import Engines, load_engines
from jetson.errors import BadInput, BudgetError, EngineError, PathError
from jetson.manifest import Precision
from jetson.preprocessing import Preprocessor
from jetson.profiling.check import check_engine, check_profile
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import ADVANCE, STOP, Policy, State, Untimed
from jetson.scheduling.replan import Replan


class _InHand(NamedTuple):
    exit: int
    output: npt.NDArray[np.float32]
    belief: Belief | None
    """None in regression."""


class Runtime:
    """A loaded bundle that answers frames within budgets. One inference at a time; calls from threads queue up."""

    def __init__(
        self, bundle: Bundle, engines: Engines, policy: Policy, timed: bool = True, ahead: bool = True
    ) -> None:
        """Put the parts together; most callers want `Runtime.load`.

        Args:
            bundle: opened and verified.
            engines: its units, loaded.
            policy: decides at every boundary.
            timed: whether the policy can honour a time limit (it has a profile).
            ahead: whether to enqueue the whole path of a known budget on engines that are quicker then. A budget
                that is revised or cut meanwhile is seen at the path's end.
        """
        self.bundle = bundle
        self.engines = engines
        self.policy = policy
        self.paths = Paths.of(bundle.manifest)
        self.preprocessor = Preprocessor(bundle.manifest.preprocessing)
        self._timed = timed
        self._ahead = ahead and engines.ahead
        first, last = self.paths.segments, self.paths.branches
        self._straight = [(*first[:n], b) for n, b in zip(self.paths.stages, last, strict=True)]
        self._names = [unit.name for unit in bundle.manifest.units]
        self._exits = bundle.manifest.exits
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        bundle: Bundle | str | Path,
        profile: LatencyProfile | str | Path | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
        precision: Precision | None = None,
        level: float = 0.95,
        warm_up: int = 3,
        ahead: bool = True,
    ) -> Runtime:
        """Load a bundle and the profile measured for it on this device.

        Args:
            bundle: a bundle's folder, or an opened one.
            profile: the profile's file, or a loaded one. Without one the runtime answers unbounded and unknown
                budgets only, since it cannot know what fits into a time.
            engine: which engine runs the units, `onnxruntime` or `tensorrt`; as in the profile when None, or
                `onnxruntime` without one.
            threads: for engines on the CPU; as in the profile when None, or all cores without one.
            precision: of every unit; as in the profile when None, or what the engine takes by default without one.
            level: the latency quantile that must fit into a budget.
            warm_up: runs of every unit before the first frame.
            ahead: on an engine that is quicker then (TensorRT), enqueue the whole path of a known budget and wait once.
                A budget that is revised or cut meanwhile is seen at the path's end; say False to have it seen at the
                next boundary.

        Raises:
            BundleError: the bundle is damaged.
            ProfileError: the profile belongs to another bundle, device, engine or engine version.
            EngineError: a unit cannot be loaded.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        loaded = LatencyProfile.load(profile) if isinstance(profile, str | Path) else profile
        if not 0.0 < level < 1.0:
            raise BadInput(f"the latency quantile must lie between 0 and 1, not {level!r}")
        units = opened.manifest.units
        precisions = None if precision is None else list(opened.manifest.nearest(precision))
        if loaded is not None:
            check_profile(loaded, opened)
            engine = engine or loaded.engine.name
            if threads is None and engine == loaded.engine.name:
                threads = loaded.engine.threads
            precisions = precisions or [loaded.units[u.name].precision for u in units]
        engines = load_engines(opened, engine or "onnxruntime", threads, precisions)
        policy: Policy
        if loaded is None:
            policy = Untimed(Paths.of(opened.manifest))
        else:
            check_engine(loaded, opened, engines.info, engines.precisions)
            policy = Replan(opened.manifest, loaded, level, ahead and engines.ahead)
        runtime = cls(opened, engines, policy, timed=loaded is not None, ahead=ahead)
        for _ in range(warm_up):
            for unit in range(len(units)):
                engines.run(unit)
        return runtime

    def infer(self, frame: Any, budget: Budget | None = None) -> Answer:
        """Answer one frame.

        Args:
            frame: what `Preprocessor` takes: a uint8 camera frame, a Pillow image, or a prepared float32 array.
            budget: the time the answer may take; None or `Budget.unbounded()` runs to the last exit. A budget
                shorter than the quickest exit is answered by that exit and marked late.

        Raises:
            FrameError: the frame does not fit; nothing has run.
            BudgetError: a time limit without a profile, or something that is no budget.
            EngineError: an engine failed and no exit could answer.
        """
        start = clock()
        limit = budget if budget is not None else Budget.unbounded()
        if not isinstance(limit, Budget):
            raise BudgetError(f"a budget is a Budget, e.g. Budget.within(ms=8), not {type(budget).__name__}")
        if not self._timed and limit.kind in ("relative", "absolute"):
            raise BudgetError(
                "a time limit needs the latencies of this device: offramp profile BUNDLE --out profile.json, "
                "then Runtime.load(bundle, profile)"
            )
        with self._lock:
            self.preprocessor(frame, self.engines.input[0])
            ready = clock()
            hand, trace, error = self._walk(start, ready, limit)
            return self._answer(hand, trace, error, start, ready, limit)

    def close(self) -> None:
        """Free the engines."""
        self.engines.close()

    def _walk(self, start: float, ready: float, budget: Budget) -> tuple[_InHand, list[UnitRun], str | None]:
        """Run units as the policy says until it stops, the budget is cut, or nothing is left."""
        state, policy, paths = State(), self.policy, self.paths
        hand: _InHand | None = None
        trace: list[UnitRun] = []
        boundary = ready
        while True:
            # In this order: a revision in between makes the limit finite, which is never taken for "no limit".
            state.known = budget.kind != "unknown"
            state.remaining_ms = (budget.deadline(start) - boundary) * 1e3
            if self._ahead and state.stage == 0 and not budget.was_cut:
                committed = policy.commit(state)
                if committed is not None:
                    return self._run_straight(committed, start, trace)
            action = STOP if budget.was_cut else policy.decide(state)
            if hand is None and action == STOP:
                action = self._nearest(state.stage)
            if hand is not None and (action == STOP or (action == ADVANCE and state.stage == len(paths.segments))):
                return hand, trace, None
            unit = paths.segments[state.stage] if action == ADVANCE else paths.branches[action]
            began = clock()
            try:
                self.engines.run(unit)
                ended = clock()
                if action == ADVANCE:
                    state.stage += 1
                else:
                    hand = self._read(action, unit, hand)
                    state.answered = action
                    state.confidence = math.nan if hand.belief is None else hand.belief.confidence
            except EngineError as error:
                hand = hand or self._rescue(state.stage, unit, error, start, trace)
                return hand, trace, str(error)
            now = clock()
            elapsed_ms, gpu_ms = (now - boundary) * 1e3, self.engines.gpu_ms(unit)
            trace.append(UnitRun(self._names[unit], (began - start) * 1e3, (ended - began) * 1e3, elapsed_ms, gpu_ms))
            policy.observe(unit, elapsed_ms, gpu_ms)
            boundary = now

    def _run_straight(
        self, exit_: int, start: float, trace: list[UnitRun]
    ) -> tuple[_InHand, list[UnitRun], str | None]:
        """Run the whole path to an exit in one go."""
        path = self._straight[exit_]
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
            self.policy.observe(unit, None, gpu_ms)
        return hand, trace, None

    def _rescue(self, stage: int, failed: int, error: EngineError, start: float, trace: list[UnitRun]) -> _InHand:
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

    def _read(self, exit_: int, unit: int, hand: _InHand | None = None) -> _InHand:
        output = np.array(self.engines.output(unit)[0], np.float32)
        if not np.isfinite(output).all():
            raise EngineError(f"unit {self._names[unit]} gave NaN or infinite values")
        temperature, posterior = self._exits[exit_].temperature, self._exits[exit_].posterior
        if temperature is None:
            return _InHand(exit_, output, None)
        # Of two exits after one layer the later may have run first; posteriors know only what comes before.
        before = hand.belief if hand is not None and hand.exit < exit_ else None
        return _InHand(exit_, output, believe(output, temperature, posterior, before))

    def _answer(
        self, hand: _InHand, trace: list[UnitRun], error: str | None, start: float, ready: float, budget: Budget
    ) -> Answer:
        manifest = self.bundle.manifest
        exit_ = self._exits[hand.exit]
        belief = hand.belief
        index = None if belief is None else belief.class_index
        label = manifest.classes[index] if index is not None and manifest.classes is not None else None
        deadline = budget.deadline(start)
        now = clock()
        known = deadline != math.inf
        return Answer(
            exit=hand.exit + 1,
            exit_name=exit_.name,
            output=hand.output,
            class_index=index,
            label=label,
            value=tuple(float(v) for v in hand.output) if belief is None else None,
            confidence=None if belief is None else belief.confidence,
            elapsed_ms=(now - start) * 1e3,
            budget_ms=(deadline - start) * 1e3 if known else None,
            met_deadline=now <= deadline if known else None,
            preprocess_ms=(ready - start) * 1e3,
            trace=tuple(trace),
            slowdown=self.policy.slowdown,
            error=error,
        )
