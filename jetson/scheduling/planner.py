"""The planner: looks up what backward induction found, at the time as it would be on the device as profiled."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from jetson.bundle import Bundle
from jetson.manifest import Manifest
from jetson.profiling.profile import LEVELS, LatencyProfile
from jetson.samples import Samples
from jetson.scheduling import learning
from jetson.scheduling.budget import Budget
from jetson.scheduling.chosen import Chosen, code, keep, recall
from jetson.scheduling.induction import THRIFT, Late, Prices
from jetson.scheduling.memory import TAU
from jetson.scheduling.outlook import plain_outlook
from jetson.scheduling.plans import STALLS, Plan, Solver
from jetson.scheduling.policy import FrameEnd, State
from jetson.scheduling.ruled import Ruled, rules_for
from jetson.scheduling.rules import PLANNER, Rules
from jetson.scheduling.slowdown import log_slowdown

FIRST_REFRESH = 32
"""Frames after which what was learnt of budgets is looked at first; then after twice as many each time,"""
LAST_REFRESH = 512
"""up to so many."""
MOVED = 0.1
"""Change of what was learnt, as a distance of distributions, from which on the tables are solved anew."""


_PLANS: dict[str, Plan] = {}
"""Solved by this process, by the hash of all that they depend on: a bundle is often loaded again."""
KEPT_PLANS = 8


def next_look(frames: int) -> int:
    """After how many frames in all budgets are looked at again, when that was done just now."""
    return frames + min(frames, LAST_REFRESH)


class Planner(Ruled):
    """The shipped policy. `jetson.scheduling.induction` says what it maximises."""

    def __init__(
        self,
        manifest: Manifest,
        profile: LatencyProfile,
        samples: Mapping[str, Samples] | None = None,
        *,
        miss_rate: float | None = None,
        prices: Prices | None = None,
        late: Late = "lost",
        confidence: bool | None = None,
        level: float = 0.95,
        budgets_ms: Sequence[float] = (),
        background: bool = False,
        plan: Plan | None = None,
        chosen: Chosen | None = None,
    ) -> None:
        """Solve the tables.

        Args:
            manifest: of the bundle.
            profile: measured on this device.
            samples: recorded answers by role; of `fit` the planner learns, `select` decides whether that is of use.
                Without them it goes by each exit's quality alone.
            miss_rate: to promise, among budgets that the quickest exit can meet; None for no promise.
            prices: of time and of being late.
            late: what happens to an answer that is not finished when a known budget ends.
            confidence: look at answers or do not; None for what wins the held-out replay.
            level: quantile of the quickest exit's latency from which a budget counts as one that can be met.
            budgets_ms: what budgets that nobody tells are like, in the order in which they came; empty when that is
                still to be seen.
            background: solve anew in a thread of its own when budgets turn out to behave otherwise.
            plan: solved before for the very same arguments.
            chosen: what solving for the very same arguments found before.

        Raises:
            BudgetError: the miss rate cannot be promised, or there is no such budget.
        """
        self.manifest, self.profile = manifest, profile
        self.prices, self.late, self.miss_rate = prices or Prices(), late, miss_rate
        self._solver = Solver(manifest, profile, samples or {}, self.prices, late, confidence, level)
        self.costs, self._level = self._solver.costs, level
        self.plan = plan or self._solver.plan(miss_rate, chosen)
        super().__init__("planner", manifest, profile, self._rules())
        self._before_ms = profile.preprocess_ms.median
        self.per_ms = self.prices.per_ms + THRIFT / self._solver.total_ms
        worth = plain_outlook(manifest).worth[:, 0].tolist()
        self._ends = [(w, e.end_to_end_ms) for w, e in zip(worth, profile.exits, strict=True)]
        if len(budgets_ms):
            learning.begin_with(self.rules, self.memory, [Budget.within(ms).deadline(0.0) * 1e3 for ms in budgets_ms])
            if plan is None:
                self.plan = self._solver.anew(self.plan, self.memory)
                self.rules = self._rules()
        self._background = background
        self._frames, self._next = 0, FIRST_REFRESH
        self._solved_for = self._solver.depends_on(self.memory)
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, bundle: Bundle, profile: LatencyProfile, **options: Any) -> Planner:
        """For a bundle, with the answers that it records; options as of the class."""
        samples = {role: found for role in ("fit", "select") if (found := bundle.samples(role)) is not None}
        content = msgspec.json.encode([bundle.manifest, profile, repr(sorted(options.items()))])
        key = hashlib.sha256(code() + content).hexdigest()
        foretold = bool(options.get("budgets_ms"))  # replayed anew with what they change
        chosen = None if key in _PLANS or foretold else recall(key)
        made = cls(bundle.manifest, profile, samples, background=True, plan=_PLANS.get(key), chosen=chosen, **options)
        if key in _PLANS:
            return made
        if len(_PLANS) >= KEPT_PLANS:
            _PLANS.pop(next(iter(_PLANS)))
        plan = _PLANS[key] = made.plan
        if chosen is None and not foretold and plan.known_replay is not None and plan.hidden_replay is not None:
            keep(Chosen(key, plan.known_replay, plan.hidden_replay, plan.tau))
        return made

    def commit(self, state: State) -> int | None:
        """The exit that is worth most when its path is enqueued as a whole, by the time measured so."""
        if not state.known:
            return None
        pace = math.exp(log_slowdown(self.memory) + max(self.memory[TAU], self.rules.least_tau))
        left_ms = state.remaining_ms / pace + self._before_ms
        best, most = 0, -math.inf
        for exit_, (worth, sketch) in enumerate(self._ends):
            in_time = float(np.interp(left_ms, sketch.quantiles, LEVELS, left=0.0, right=1.0))
            # Of exits without a chance the quickest is taken.
            value = in_time * worth - (1.0 - in_time) * self.prices.late - self.per_ms * sketch.median
            if value > most:
                best, most = exit_, value
        return best

    def finish(self, end: FrameEnd) -> None:
        """Learn from a frame, and solve anew when budgets turn out to behave otherwise than was reckoned with."""
        super().finish(end)
        self._frames += 1
        if self._frames < self._next:
            return
        self._next = next_look(self._frames)
        if not self._background:
            self.refresh()
        elif self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self.refresh, daemon=True)
            self._thread.start()

    def look_soon(self) -> None:
        """Look after the next frame whether what is remembered asks for other tables: it was learnt elsewhere."""
        self._next = self._frames + 1

    def refresh(self) -> bool:
        """Solve anew with what was learnt of budgets and stalls, if that has changed; tells whether it was."""
        now = self._solver.depends_on(self.memory)
        if float(np.abs(now - self._solved_for).sum()) / 2 <= MOVED:
            return False
        self.plan = self._solver.anew(self.plan, self.memory)
        self.rules = self._rules()
        self._solved_for = now
        return True

    def _rules(self) -> Rules:
        plan = self.plan
        edges = max((t.outlook.edges for t in (plan.known, plan.hidden, plan.settled)), key=lambda e: e.shape[1])
        buckets = edges.shape[1] + 1
        return rules_for(
            PLANNER,
            self._solver.paths,
            self.profile,
            self._solver.names,
            self._level,
            edges=edges,
            known=np.stack([_spread(t.action, buckets) for t in (plan.known, *plan.stalled)]),
            stalls=np.array([0.0, *STALLS[: len(plan.stalled)]]) / self._solver.total_ms,
            hidden=np.stack([_spread(t.action, buckets) for t in (plan.hidden, *plan.after)]),
            settled=_spread(plan.settled.action, buckets),
            step_ms=self.costs.step_ms,
            hidden_step_ms=plan.hidden.step_ms,
            miss_rate=self.miss_rate or 0.0,
            least_tau=math.log(plan.tau),
        )


def _spread(action: np.ndarray, buckets: int) -> np.ndarray:
    """A table that does not look at answers, as one that looks and does not care."""
    if action.shape[2] == buckets:
        return action
    shape = (*action.shape[:2], buckets, action.shape[3])
    return np.ascontiguousarray(np.broadcast_to(action, shape))
