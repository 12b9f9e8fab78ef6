"""The planner: looks up what backward induction found, at the time as it would be on the device as profiled."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jetson.bundle import Bundle
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling import learning
from jetson.scheduling.guarantee import careful_factor
from jetson.scheduling.heldout import draw_latencies, walk
from jetson.scheduling.induction import Costs, Late, Prices, Revisions, Table, solve, stalling
from jetson.scheduling.memory import CUT_BINS, CUTS, FRAMES, LEFT, RATIO_BINS, RATIOS, STALL_LEVEL, blank
from jetson.scheduling.outlook import Outlook, learn_outlook, plain_outlook
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import FrameEnd, State
from jetson.scheduling.ruled import Ruled, rules_for
from jetson.scheduling.rules import PLANNER, Rules, plan
from jetson.scheduling.slowdown import log_slowdown, usual_stalls

REPLAYED = 2000
"""Frames of the held-out replay."""
SEED = 7
FIRST_REFRESH = 32
"""Frames after which what was learnt of budgets is looked at first; then after twice as many each time,"""
LAST_REFRESH = 512
"""up to so many."""
MOVED = 0.1
"""Change of what was learnt, as a distance of distributions, from which on the tables are solved anew."""


STALLS = (0.1, 0.3, 0.8, 2.0)
"""Stalls on the way through all units that tables are solved for, once the device is seen to stall,"""
FEW_STALLS = 0.04
"""more often than this."""


@dataclass(frozen=True)
class HeldOutReplay:
    """Which table won where confidence was replayed against its absence on the same frames."""

    confident: float
    """Mean value with a look at answers,"""
    plain: float
    """and without."""
    n: int

    @property
    def won(self) -> bool:
        """Whether the look at answers is to be shipped."""
        return self.confident > self.plain


@dataclass(frozen=True)
class Plan:
    """What the planner decides by, for one bundle on one device."""

    known: Table
    """For budgets that are told."""
    hidden: Table
    """For budgets that are not."""
    known_replay: HeldOutReplay | None
    hidden_replay: HeldOutReplay | None
    """None without recorded answers."""
    tau: float
    """Time is taken for so many times shorter, for the promised miss rate."""
    stalled: tuple[Table, ...] = ()
    """For known budgets on a device that also stalls, `STALLS` times on the way through all units."""


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
        ahead: bool = False,
        background: bool = False,
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
            ahead: whether a path is enqueued as a whole; `commit` then reckons with the time measured so.
            background: solve anew in a thread of its own when budgets turn out to behave otherwise.

        Raises:
            BudgetError: the miss rate cannot be promised.
        """
        self.manifest, self.profile = manifest, profile
        self.paths = Paths.of(manifest)
        self.prices, self.late, self.miss_rate = prices or Prices(), late, miss_rate
        names = [u.name for u in manifest.units]
        self._sketches = [profile.units[n].end_to_end_ms for n in names]
        self.costs = Costs.of(self.paths, profile, names)
        # On the device as profiled; preprocessing comes before the first boundary.
        self._quickest_ms = min(float(e.end_to_end_ms.quantile(level)) for e in profile.exits)
        self._names, self._level = names, level
        self._samples = samples or {}
        self._usual_stalls = usual_stalls(self._sketches)
        self._total_ms = sum(s.median for s in self._sketches)
        self.plan = self._solve(confidence)
        super().__init__("planner", manifest, profile, self._rules())
        self._ahead_gain = self._gain() if ahead else 1.0
        self._background = background
        self._frames, self._next = 0, FIRST_REFRESH
        self._solved_for = self._learnt()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, bundle: Bundle, profile: LatencyProfile, **options: Any) -> Planner:
        """For a bundle, with the answers that it records; options as of the class."""
        samples = {role: found for role in ("fit", "select") if (found := bundle.samples(role)) is not None}
        return cls(bundle.manifest, profile, samples, background=True, **options)

    def commit(self, state: State) -> int | None:
        """The exit that the plan without a look at answers leads to when units take their medians."""
        if not state.known:
            return None
        now = replace(state)
        now.remaining_ms /= self._ahead_gain
        rules, pace, memory = self._straight, math.exp(log_slowdown(self.memory)), self.memory.copy()
        memory[STALL_LEVEL] = 0.0
        while now.stage <= len(self.paths.segments):
            action = plan(rules, memory, now.stage, -1, math.nan, now.remaining_ms, now.elapsed_ms, True)
            if action >= 0:
                return action
            now.remaining_ms -= pace * self.rules.profiled_ms[self.paths.segments[now.stage]]
            now.stage += 1
        return None

    def finish(self, end: FrameEnd) -> None:
        """Learn from a frame, and solve anew when budgets turn out to behave otherwise than was reckoned with."""
        super().finish(end)
        self._frames += 1
        if self._frames < self._next:
            return
        self._next = self._frames + min(self._frames, LAST_REFRESH)
        if not self._background:
            self.refresh()
        elif self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self.refresh, daemon=True)
            self._thread.start()

    def refresh(self) -> bool:
        """Solve anew with what was learnt of budgets, if that has changed; tells whether it was."""
        learnt = self._learnt()
        if float(np.abs(learnt - self._solved_for).sum()) / 2 <= MOVED:
            return False
        before = self.plan
        known = self._table(before.known.outlook, learning.revisions(self.memory))
        hidden = self._hidden_table(before.hidden.outlook, self.memory)
        per_ms, stall_ms = learning.stalls(self.memory, self.rules.usual_stalls)
        stalled: tuple[Table, ...] = ()
        if per_ms * self._total_ms > FEW_STALLS:
            costs = [stalling(self.costs, n / self._total_ms, stall_ms) for n in STALLS]
            stalled = tuple(self._table(before.known.outlook, learning.revisions(self.memory), c) for c in costs)
        elif before.stalled:
            stalled = before.stalled
        self.plan = replace(before, known=known, hidden=hidden, stalled=stalled)
        self.rules = self._rules()
        self._solved_for = learnt
        return True

    def _learnt(self) -> np.ndarray:
        """What the tables depend on, as one vector: how budgets are revised, and when unknown ones end."""
        found = learning.revisions(self.memory)
        often = 0.0 if found is None else -math.expm1(-found.per_ms * self._quickest_ms)
        ratios = self.memory[RATIOS : RATIOS + RATIO_BINS] / max(self.memory[FRAMES], 1.0)
        cuts = self.memory[CUTS : LEFT + CUT_BINS]
        heard = cuts.sum()
        share = cuts / heard * min(heard / learning.PRIOR_FRAMES, 1.0) if heard > 0.0 else cuts
        per_ms, stall_ms = learning.stalls(self.memory, self._usual_stalls)
        # A third more or less of a stall's length counts as much as a tenth of anything else.
        length = 0.5 * math.log2(1.0 + stall_ms / self._total_ms * 64) if per_ms * self._total_ms > FEW_STALLS else 0.0
        return np.concatenate([[often, length], ratios if found is not None else 0.0 * ratios, share])

    def _solve(self, confidence: bool | None) -> Plan:
        plain = plain_outlook(self.manifest)
        fit = self._samples.get("fit")
        outlook = learn_outlook(self.manifest, fit) if fit is not None and confidence is not False else None
        known, known_replay = self._choose([self._table(o, None) for o in (plain, outlook) if o], confidence, False)
        hidden, hidden_replay = self._choose(
            [self._hidden_table(o, blank()) for o in (plain, outlook) if o], confidence, True
        )
        tau = 1.0
        if self.miss_rate is not None:
            judged = self._samples.get("select") or self._samples.get("fit") or _silent(self.manifest)
            tau = careful_factor(known, self.paths, self.manifest, self.profile, judged, self.miss_rate)
        self._straight_table = self._table(plain, None)
        return Plan(known, hidden, known_replay, hidden_replay, tau)

    def _table(self, outlook: Outlook, revisions: Revisions | None, costs: Costs | None = None) -> Table:
        return solve(self.paths, outlook, costs or self.costs, self.prices, self.late, None, revisions)

    def _hidden_table(self, outlook: Outlook, memory: np.ndarray) -> Table:
        alive = learning.survival(memory, self._quickest_ms, self.costs.step_ms, self.costs.points)
        return solve(self.paths, outlook, self.costs, self.prices, "best-so-far", alive)

    def _choose(self, tables: list[Table], confidence: bool | None, hidden: bool) -> tuple[Table, HeldOutReplay | None]:
        """The table that wins on held-out frames; of one, that one."""
        select = self._samples.get("select")
        if len(tables) == 1 or select is None:
            return tables[-1] if confidence else tables[0], None
        n = REPLAYED
        rng = np.random.default_rng(SEED)
        latencies = draw_latencies(self.profile, self._names, n, SEED)
        high = self.costs.step_ms * (self.costs.points - 1)
        budgets = self._quickest_ms * (high / self._quickest_ms) ** rng.random(n)
        frames = rng.permutation(np.arange(n) % len(select))
        plain, confident = (
            float(walk(t, self.paths, self.manifest, select, frames, latencies, budgets, 1.0, hidden).value(t).mean())
            for t in tables
        )
        replay = HeldOutReplay(confident, plain, n)
        return tables[replay.won if confidence is None else confidence], replay

    def _rules(self) -> Rules:
        known, hidden = self.plan.known, self.plan.hidden
        edges = max((known.outlook.edges, hidden.outlook.edges), key=lambda e: e.shape[1])
        buckets = edges.shape[1] + 1
        rules = rules_for(
            PLANNER,
            self.paths,
            self.profile,
            self._names,
            self._level,
            edges=edges,
            known=np.stack([_spread(t.action, buckets) for t in (known, *self.plan.stalled)]),
            stalls=np.array([0.0, *STALLS[: len(self.plan.stalled)]]) / self._total_ms,
            hidden=_spread(hidden.action, buckets),
            step_ms=self.costs.step_ms,
            miss_rate=self.miss_rate or 0.0,
            least_tau=math.log(self.plan.tau),
        )
        self._straight = rules._replace(
            known=self._straight_table.action[None], stalls=np.zeros(1), edges=np.empty((len(edges), 0))
        )
        return rules

    def _gain(self) -> float:
        """How much sooner a path that is enqueued as a whole is done than its units one by one; median over exits."""
        before, medians = self.profile.preprocess_ms.median, [s.median for s in self._sketches]
        found = []
        for exit_, branch, needs in zip(self.profile.exits, self.paths.branches, self.paths.stages, strict=True):
            apart = sum(medians[s] for s in self.paths.segments[:needs]) + medians[branch]
            found.append((exit_.end_to_end_ms.median - before) / max(apart, 1e-9))
        return max(float(np.median(found)), 1e-3)


def _spread(action: np.ndarray, buckets: int) -> np.ndarray:
    """A table that does not look at answers, as one that looks and does not care."""
    if action.shape[2] == buckets:
        return action
    shape = (*action.shape[:2], buckets, action.shape[3])
    return np.ascontiguousarray(np.broadcast_to(action, shape))


def _silent(manifest: Manifest) -> Samples:
    """One frame on which every exit says the same: for a bundle without recorded answers."""
    exits = len(manifest.exits)
    if manifest.task == "regression":
        return Samples(
            target=np.zeros((1, manifest.outputs), np.float32),
            output=np.zeros((1, exits, manifest.outputs), np.float32),
        )
    return Samples(
        target=np.zeros(1, np.int64), class_index=np.zeros((1, exits), np.int32), score=np.zeros((1, exits), np.float32)
    )
