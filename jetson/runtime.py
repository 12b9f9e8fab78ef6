"""Runtime: a frame and a budget become an answer, by way of `jetson.walk`."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson.answer import Answer, UnitRun
from jetson.batches import Batches
from jetson.bundle import Bundle
from jetson.engines import Engines, load_batches, load_engines, prepare_engine
from jetson.errors import BadInput, BudgetError, EngineError
from jetson.following import Following
from jetson.loading import MakePolicy, Wishes
from jetson.log import get_logger, timed
from jetson.manifest import Precision
from jetson.preprocessing import Preprocessor
from jetson.profiling.check import check_engine
from jetson.profiling.modes import Given, ModeProfiles
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling import batching
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.induction import Late
from jetson.scheduling.paths import Paths
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import FrameEnd, Policy, Untimed
from jetson.streams import InBatches, answer_all
from jetson.together import Together
from jetson.walk import InHand, Told, Walker

if TYPE_CHECKING:
    from jetson.scheduling.explain import Explanation

logger = get_logger(__name__)
WARM_UP = {"onnxruntime": 1, "tensorrt": 3}
"""Runs of a unit, by engine, after which it is no longer slower than it will be."""


class Runtime:
    """A loaded bundle that answers frames within budgets. One inference at a time; calls from threads queue up."""

    def __init__(
        self,
        bundle: Bundle,
        engines: Engines,
        policy: Policy,
        timed: bool = True,
        ahead: bool = True,
        late: Late = "lost",
    ) -> None:
        """Put the parts together; most callers want `Runtime.load`.

        Args:
            bundle: opened and verified.
            engines: its units, loaded.
            policy: decides at every boundary.
            timed: whether the policy can honour a time limit (it has a profile).
            ahead: whether to enqueue the whole path of a known budget on engines that are quicker then. A budget
                that is revised or cut meanwhile is seen at the path's end.
            late: `lost`: an answer counts when it is given in time. `best-so-far`: the answer in hand when the
                budget ends counts, and a later one does not replace it.
        """
        self.bundle = bundle
        self.engines = engines
        self.policy = policy
        self.paths = Paths.of(bundle.manifest)
        self.preprocessor = Preprocessor(bundle.manifest.preprocessing)
        self._timed = timed
        self._ahead = ahead and engines.ahead
        self._walker = Walker(bundle.manifest, engines, self._ahead, late)
        self.late = late
        self._last_answer = -math.inf
        self._exits = bundle.manifest.exits
        self._lock = threading.Lock()
        self._tells = logger.tells_details()
        self._following: Following | None = None
        self._together: Together | None = None
        self._batches: Batches | None = None

    @classmethod
    def load(
        cls,
        bundle: Bundle | str | Path,
        profile: Given | Sequence[Given] | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
        precision: Precision | None = None,
        policy: str | MakePolicy = "planner",
        miss_rate: float | None = None,
        price_per_ms: float = 0.0,
        price_per_mj: float = 0.0,
        late: Late = "lost",
        budgets_ms: Sequence[float] = (),
        level: float = 0.95,
        warm_up: int | None = None,
        ahead: bool = True,
        batches: bool = False,
    ) -> Runtime:
        """Load a bundle and the profile measured for it on this device, or one for each of its power modes.

        Args:
            bundle: a bundle's folder, or an opened one.
            profile: the profile's file, or a loaded one; several, or a folder of them, each of another power mode:
                the one of the mode that holds is taken, and another when the mode changes. Without one the runtime
                answers unbounded and unknown budgets only, since it cannot know what fits into a time.
            engine: which engine runs the units, `onnxruntime` or `tensorrt`; as in the profile when None, or
                `onnxruntime` without one.
            threads: for engines on the CPU; as in the profile when None, or all cores without one.
            precision: of every unit; as in the profile when None, or what the engine takes by default without one.
            policy: `planner`, or one to compare it with by its name in `jetson.scheduling.baselines`, or what makes
                another.
            miss_rate: promise that at most this share of the answers is late, of the budgets that the quickest exit
                can meet; None promises nothing, and a late answer costs what `Prices.late` says.
            price_per_ms: what a millisecond of computing is worth, in shares of a right answer (or of the error that
                an answer is worth nothing at); 0 uses the whole budget where that helps.
            price_per_mj: the same of a millijoule, where the profile knows what power the device draws.
            late: whether an answer that comes late is `lost`, or the `best-so-far` counts.
            budgets_ms: what budgets that nobody tells are like, in milliseconds and in the order in which they came
                (of a recorded trace, for example); empty when that is still to be learnt.
            level: quantile of the quickest exit's latency from which a budget counts as one that can be met; for
                `replan`, the quantile that must fit into a budget.
            warm_up: runs of every unit before the first frame; None for as many as the engine needs to be at its pace.
            ahead: on an engine that is quicker then (TensorRT), enqueue the whole path of a known budget and wait once.
                A budget that is revised or cut meanwhile is seen at the path's end; say False to have it seen at the
                next boundary.
            batches: whether `infer_many` may answer frames together where the profile shows that this saves time
                (`offramp profile --batches`). The units are then held once more. Off, since on the machine it was
                measured on it lost frames: docs/decisions/0021-batches.md.

        Raises:
            BundleError: the bundle is damaged.
            ProfileError: the profile belongs to another bundle, device, engine or engine version, or there is none of
                the power mode that holds.
            EngineError: a unit cannot be loaded.
            BudgetError: the miss rate cannot be promised from this profile.
            BadInput: no such policy.
        """
        profiles = None if profile is None else ModeProfiles.load(profile)
        first = None if profiles is None else next(iter(profiles))
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle, verify=False)
        # Hashing leaves the interpreter to the import, reading a manifest would have to wait for it.
        prepare_engine(engine or ("onnxruntime" if first is None else first.engine.name))
        if opened is not bundle:
            opened.verify()
        wishes = Wishes(policy, miss_rate, price_per_ms, price_per_mj, late, tuple(budgets_ms), level)
        # Wrong wishes are told before profiles that do not fit.
        wishes.check(opened, first)
        loaded = None if profiles is None else profiles.here(opened)
        precisions = None if precision is None else list(opened.manifest.nearest(precision))
        making = None
        if loaded is not None:
            engine = engine or loaded.engine.name
            if threads is None and engine == loaded.engine.name:
                threads = loaded.engine.threads
            precisions = precisions or [loaded.units[u.name].precision for u in opened.manifest.units]
            making = wishes.begin(opened, loaded)
        engines = load_engines(opened, engine or "onnxruntime", threads, precisions)
        if loaded is None or making is None or profiles is None:
            runtime = cls(opened, engines, Untimed(Paths.of(opened.manifest)), timed=False, ahead=ahead, late=late)
        else:
            check_engine(loaded, opened, engines.info, engines.precisions)
            chosen = making(ahead and engines.ahead)
            runtime = cls(opened, engines, chosen, ahead=ahead, late=late)
            runtime._following = Following(
                opened, engines, profiles, loaded, lambda p: wishes.begin(opened, p)(ahead and engines.ahead)
            )
            logger.info("profile of %s, made %s; %s decides", loaded.device.processor, loaded.created, chosen.name)
            if batches:
                runtime._prepare_batches(loaded)
        rounds = WARM_UP[engines.info.name] if warm_up is None else warm_up
        with timed(logger, "warmed up, %d runs of each unit,", rounds):
            for _ in range(rounds):
                for unit in range(len(opened.manifest.units)):
                    engines.run(unit)
        return runtime

    def infer(
        self, frame: Any, budget: Budget | None = None, on_answer: Callable[[Answer], None] | None = None
    ) -> Answer:
        """Answer one frame.

        Args:
            frame: what `Preprocessor` takes: a uint8 camera frame, a Pillow image, or a prepared float32 array.
            budget: the time the answer may take; None or `Budget.unbounded()` is no limit, and what is believed best
                answers. A budget shorter than the quickest exit is answered by that exit and marked late.
            on_answer: told of every answer that comes to hand on the way, in this thread: for who takes the best so
                far when time is up, without waiting for `infer` to return.

        Raises:
            FrameError: the frame does not fit; nothing has run.
            BudgetError: a time limit without a profile, or something that is no budget.
            EngineError: an engine failed and no exit could answer.
        """
        start = clock()
        limit = self._limit(budget)
        with self._lock:
            self._follow()
            return self._one(frame, limit, start, on_answer)

    def infer_many(self, frames: Sequence[Any], budgets: Sequence[Budget | None] | None = None) -> list[Answer]:
        """Answer frames that came at the same time, of several cameras for example, each within a budget of its own.

        `jetson.streams` says in which order, and how they share the time. Every budget counts from this call.

        Args:
            frames: each as of `infer`.
            budgets: one for each frame; None is no limit, for one or for all.

        Returns:
            The answers in the order of the frames; `waited_ms` tells when the turn of each came, `together` how many
            were answered at once.

        Raises:
            BudgetError: as of `infer`, or there are more or fewer budgets than frames; nothing has run.
            StreamsError: a frame does not fit, or an engine failed and no exit could answer it. All other frames have
                been answered: the error's `answers` holds them, its `errors` what went wrong by frame.
        """
        start = clock()
        given = [None] * len(frames) if budgets is None else list(budgets)
        if len(given) != len(frames):
            raise BudgetError(f"every frame needs a budget: there are {len(frames)} frames and {len(given)} budgets")
        limits = [self._limit(budget) for budget in given]
        with self._lock:
            self._follow()
            return answer_all(frames, limits, start, self.policy, self._one, self.late, together=self._in_batches())

    def _prepare_batches(self, profile: LatencyProfile) -> None:
        """Load what answers frames together, where the profile shows that this saves time."""
        sizes = batching.gaining(profile)
        if not sizes:
            return
        with timed(logger, "loaded the units for up to %d frames at once", max(sizes)):
            self._together = Together(self.bundle.manifest, load_batches(self.bundle, self.engines, max(sizes)))
            for size in sizes:
                self._together.warm_up(size)

    def _in_batches(self) -> InBatches | None:
        """How frames are answered together at this time; None for not at all."""
        if self._together is None or not isinstance(self.policy, Planner):
            return None
        if self._batches is None or self._batches.planner is not self.policy:
            self._batches = Batches(self._together, self.policy, self.preprocessor, self._answer)
        found = self._batches.batching
        return InBatches(found, self._several) if found.sizes else None

    def _several(
        self, frames: Sequence[Any], limits: Sequence[Budget], exit_: int, start: float
    ) -> list[Answer | EngineError]:
        """Answer frames together; the caller holds the lock. After a unit failed so, no more is answered so."""
        assert self._batches is not None
        try:
            return self._batches.answer(frames, limits, exit_, start, (start - self._last_answer) * 1e3)
        except EngineError as error:
            logger.info("no more batches: %s", error)
            self._together = None
            raise
        finally:
            self._last_answer = clock()

    def _follow(self) -> None:
        """Between frames: let another policy decide when another power mode holds."""
        if self._following is not None and self._following.ready:
            self.policy = self._following.take_over(self.policy)

    def _limit(self, budget: Budget | None) -> Budget:
        limit = budget if budget is not None else Budget.unbounded()
        if not isinstance(limit, Budget):
            raise BudgetError(f"a budget is a Budget, e.g. Budget.within(ms=8), not {type(budget).__name__}")
        if not self._timed and limit.kind in ("relative", "absolute"):
            raise BudgetError(
                "a time limit needs the latencies of this device: offramp profile BUNDLE --out profile.json, "
                "then Runtime.load(bundle, profile)"
            )
        return limit

    def _one(
        self, frame: Any, limit: Budget, start: float, on_answer: Callable[[Answer], None] | None = None
    ) -> Answer:
        """Answer one frame; the caller holds the lock."""
        self.policy.begin((start - self._last_answer) * 1e3)
        self.preprocessor(frame, self.engines.input[0])
        ready = clock()

        def tell(hand: InHand, trace: list[UnitRun]) -> None:
            if on_answer is not None:
                on_answer(self._answer(hand, trace, None, start, ready, limit))

        hand, trace, error, told = self._walker.run(self.policy, start, ready, limit, tell if on_answer else None)
        answer = self._answer(hand, trace, error, start, ready, limit)
        self._last_answer = clock()
        self._finish(told, start, limit, answer)
        if self._tells:
            logger.debug(
                "exit %s after %.3f ms of %.3f, slowdown %.2f, units %s",
                *(answer.exit_name, answer.elapsed_ms, answer.budget_ms or math.inf, answer.slowdown),
                ", ".join(run.unit for run in answer.trace),
            )
        return answer

    def explain(self, budget: Budget | float | None = None) -> Explanation:
        """Tell what the planner would do within a budget, what is to be expected of it, and why; nothing runs.

        Args:
            budget: as of `infer`, or milliseconds.

        Raises:
            BadInput: another policy than the planner decides.
            BudgetError: this is no budget, or one that has been cut.
        """
        if not isinstance(self.policy, Planner):
            raise BadInput(f"the planner explains what it does, and here {self.policy.name} decides")
        from jetson.scheduling.explain import explain  # most processes never ask

        return explain(self.policy, budget, ahead=self._ahead)

    def close(self) -> None:
        """Free the engines, and watch the power mode no more."""
        if self.notice is not None:
            logger.info("%s", self.notice)
        if self._following is not None:
            self._following.close()
        if self._together is not None:
            self._together.close()
        self.engines.close()

    @property
    def notice(self) -> str | None:
        """What the user should know about the device, such as a pace that is not the profile's; None for nothing."""
        told = None if self._following is None else self._following.notice
        return told or self.policy.notice

    @property
    def profile(self) -> LatencyProfile | None:
        """The profile that decisions go by; another one when the power mode has changed. None without one."""
        return None if self._following is None else self._following.profile

    def _finish(self, told: Told, start: float, budget: Budget, answer: Answer) -> None:
        deadline = min(budget.deadline(start), budget.cut_at if told.known else math.inf)
        self.policy.finish(
            FrameEnd(
                budget_ms=(told.deadline - start) * 1e3,
                final_ms=(deadline - start) * 1e3,
                elapsed_ms=answer.answered_ms if told.known and self.late == "best-so-far" else answer.elapsed_ms,
                revised_at_ms=((told.changed_at if told.known else budget.cut_at) - start) * 1e3,
                known=told.known,
            )
        )

    def _answer(
        self, hand: InHand, trace: list[UnitRun], error: str | None, start: float, ready: float, budget: Budget
    ) -> Answer:
        manifest = self.bundle.manifest
        belief = hand.belief
        index = None if belief is None else belief.class_index
        label = manifest.classes[index] if index is not None and manifest.classes is not None else None
        deadline, now = budget.deadline(start), clock()
        known = deadline != math.inf
        counts = hand.since if self.late == "best-so-far" else now
        return Answer(
            exit=hand.exit + 1,
            exit_name=self._exits[hand.exit].name,
            output=hand.output,
            class_index=index,
            label=label,
            value=tuple(float(v) for v in hand.output) if belief is None else None,
            confidence=None if belief is None else belief.confidence,
            elapsed_ms=(now - start) * 1e3,
            answered_ms=(hand.since - start) * 1e3,
            budget_ms=(deadline - start) * 1e3 if known else None,
            met_deadline=counts <= deadline if known else None,
            preprocess_ms=(ready - start) * 1e3,
            trace=tuple(trace),
            slowdown=self.policy.slowdown,
            error=error,
        )
