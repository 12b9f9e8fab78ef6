"""What `Runtime.infer_many` answers together: the answers of a batch, and what the planner learns from one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jetson.answer import Answer, UnitRun
from jetson.errors import EngineError
from jetson.preprocessing import Preprocessor
from jetson.scheduling.batching import Batching
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import FrameEnd
from jetson.together import Together
from jetson.walk import InHand

MakeAnswer = Callable[[InHand, list[UnitRun], str | None, float, float, Budget], Answer]


class Batches:
    """Answers batches for one planner."""

    def __init__(self, together: Together, planner: Planner, preprocessor: Preprocessor, make: MakeAnswer) -> None:
        """Put the parts together.

        Args:
            together: runs them.
            planner: that decides on them, and learns.
            preprocessor: of the bundle.
            make: an answer, from what is in hand, what ran, an error, when the turn began, when the frame was
                prepared, and its budget.
        """
        self.planner = planner
        self.batching = Batching(planner, together.engines.most)
        self._together, self._preprocessor, self._make = together, preprocessor, make

    def answer(
        self, frames: Sequence[Any], budgets: Sequence[Budget], exit_: int, began: float, gap_ms: float
    ) -> list[Answer | EngineError]:
        """Answer frames together.

        Args:
            frames: as of `Runtime.infer`.
            budgets: of each.
            exit_: that answers them, counted from 0.
            began: when their turn began, in seconds.
            gap_ms: since the last answer.

        Returns:
            Of each frame its answer, or why it has none.

        Raises:
            UnfitFrame: one cannot be prepared; nothing has run.
            EngineError: a unit failed; no frame has an answer.
        """
        told = [budget.deadline(began) for budget in budgets]
        seen = [budget.origin.changes for budget in budgets]
        went = self._together.run(self._preprocessor, frames, exit_, began)
        self._learn(len(frames), exit_, went.trace, gap_ms)
        answers: list[Answer | EngineError] = []
        for hand, budget in zip(went.hands, budgets, strict=True):
            if isinstance(hand, EngineError):
                answers.append(hand)
            else:
                made = self._make(hand, list(went.trace), None, began, went.ready, budget)
                answers.append(replace(made, together=len(frames)))
        for budget, deadline, changes in zip(budgets, told, seen, strict=True):
            self._finish(budget, deadline, budget.origin.changes != changes, began, clock())
        return answers

    def _learn(self, size: int, exit_: int, trace: Sequence[UnitRun], gap_ms: float) -> None:
        """Tell the planner of the units, each against what it takes in a batch of this size."""
        self.planner.begin(gap_ms)
        paces = self.batching.paces[size]
        for ran in trace:
            self.planner.observe_against(ran.end_to_end_ms, *paces[ran.unit])

    def _finish(self, budget: Budget, told: float, changed: bool, began: float, ended: float) -> None:
        """Tell the planner of one frame; a budget that was revised or cut meanwhile is seen now."""
        self.planner.finish(
            FrameEnd(
                budget_ms=(told - began) * 1e3,
                final_ms=(min(budget.deadline(began), budget.cut_at) - began) * 1e3,
                elapsed_ms=(ended - began) * 1e3,
                revised_at_ms=(ended - began) * 1e3 if changed else math.inf,
                known=True,
            )
        )
