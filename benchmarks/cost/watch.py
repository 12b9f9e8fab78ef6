"""A watch on a runtime: which stage of a frame takes what, and budgets that end while units run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from jetson.engines import Engines
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.policy import Foreseen, FrameEnd, Policy, State

STAGES = {
    "begin": "begin",
    "preprocess": "preprocessing",
    "decide": "decisions",
    "engine": "units",
    "read": "reading answers",
    "observe": "learning from units",
    "walk": "walk between them",
    "answer": "answer",
    "finish": "learning from the frame",
}
"""What a frame's time goes to, and what tables call it. All but preprocessing and units is bookkeeping."""


class Laps:
    """Time of one frame by stage: every hook of the runtime ends a lap."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """A frame begins."""
        self.taken = dict.fromkeys(STAGES, 0.0)
        self.boundaries = 0
        self.last = perf_counter()

    def end(self, stage: str) -> None:
        """What went by since the last lap went to this stage."""
        now = perf_counter()
        self.taken[stage] += now - self.last
        self.last = now


class Ending:
    """Engines in which a budget that nobody knows ends, once a unit has run that reaches its moment."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self.info, self.precisions, self.ahead = engines.info, engines.precisions, engines.ahead
        self.memory, self.input = engines.memory, engines.input
        self.output, self.gpu_ms, self.close = engines.output, engines.gpu_ms, engines.close
        self._budget, self._moment = Budget.unbounded(), math.inf

    def budget(self, known: Budget | None, after: float) -> Budget:
        """A known one, or one that ends so many seconds from now."""
        self._budget = known or Budget.unknown()
        self._moment = math.inf if known else clock() + after
        return self._budget

    def run(self, unit: int) -> None:
        """The engine's, and the end."""
        self._engines.run(unit)
        if clock() >= self._moment:
            self._budget.cut()

    def run_path(self, units: Sequence[int]) -> None:
        """The engine's."""
        self._engines.run_path(units)


class TimedEngines:
    """Engines that end laps."""

    def __init__(self, engines: Engines, laps: Laps) -> None:
        self._engines, self._laps, self._reading = engines, laps, False
        self.info, self.precisions, self.ahead = engines.info, engines.precisions, engines.ahead
        self.memory, self.input = engines.memory, engines.input

    def run(self, unit: int) -> None:
        """One boundary more."""
        self._laps.end("walk")
        self._engines.run(unit)
        self._laps.end("engine")
        self._laps.boundaries += 1

    def run_path(self, units: Sequence[int]) -> None:
        """The same of several."""
        self._laps.end("walk")
        self._engines.run_path(units)
        self._laps.end("engine")
        self._laps.boundaries += len(units)

    def output(self, unit: int) -> Any:
        """Reading an answer begins."""
        self._reading = True
        return self._engines.output(unit)

    def gpu_ms(self, unit: int) -> float | None:
        """Reading an answer has ended, if it had begun."""
        self._laps.end("read" if self._reading else "walk")
        self._reading = False
        return self._engines.gpu_ms(unit)

    def close(self) -> None:
        """Free them."""
        self._engines.close()


class TimedPolicy:
    """A policy that ends laps."""

    def __init__(self, policy: Policy, laps: Laps) -> None:
        self._policy, self._laps = policy, laps
        self.name = policy.name
        self._first = True

    @property
    def slowdown(self) -> float:
        """The policy's."""
        return self._policy.slowdown

    @property
    def notice(self) -> str | None:
        """The policy's."""
        return self._policy.notice

    def begin(self, gap_ms: float) -> None:
        """Everything up to the first decision is preprocessing."""
        self._policy.begin(gap_ms)
        self._laps.end("begin")
        self._first = True

    def commit(self, state: State) -> int | None:
        """Not timed apart."""
        return self._policy.commit(state)

    def decide(self, state: State) -> int:
        """One decision."""
        self._laps.end("preprocess" if self._first else "walk")
        self._first = False
        action = self._policy.decide(state)
        self._laps.end("decide")
        return action

    def foresee(self, state: State, action: int, through_answers: bool) -> Foreseen | None:
        """Part of a decision."""
        foreseen = self._policy.foresee(state, action, through_answers)
        self._laps.end("decide")
        return foreseen

    def observe(self, unit: int, elapsed_ms: float | None, gpu_ms: float | None = None, unread: bool = False) -> None:
        """One unit learnt from."""
        self._laps.end("walk")
        self._policy.observe(unit, elapsed_ms, gpu_ms, unread)
        self._laps.end("observe")

    def finish(self, end: FrameEnd) -> None:
        """The frame learnt from; what comes after is the answer's way back."""
        self._laps.end("answer")
        self._policy.finish(end)
        self._laps.end("finish")
