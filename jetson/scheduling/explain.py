"""What the planner would do within a budget, what is to be expected of it, and why it does that.

A prediction supposes what the planner does: the device goes on at the pace that the filter believes in now, units are
as when they were profiled and independent of one another, and the budget is not revised.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from msgspec import structs

from jetson.errors import BudgetError
from jetson.manifest import Manifest
from jetson.profiling.profile import LEVELS
from jetson.scheduling import learning, wording
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.chosen import HeldOutReplay
from jetson.scheduling.costs import kernel
from jetson.scheduling.forecast import Clock, Forecast, forecast
from jetson.scheduling.induction import Table
from jetson.scheduling.likely import Boundary, Look, likely_way
from jetson.scheduling.memory import STALL_LEVEL, TAU
from jetson.scheduling.outlook import plain_outlook, scale_of
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import State
from jetson.scheduling.rules import ADVANCE, STOP


@dataclass(frozen=True)
class Step:
    """One boundary on the most likely way, `jetson.scheduling.likely`."""

    layer: int
    """That has run; 0 at the start."""
    in_hand: str | None
    """The exit whose answer is in hand."""
    chance: float
    """That answers lead here, when every unit takes its median."""
    worth: float | None
    """Of the answer in hand, going by what it says of itself; 1 is the best there is."""
    left_ms: float
    """Time that is left, infinite without a limit; of a budget that is not told, the time since the frame began."""
    action: str
    """`go on`, `stop`, or the exit whose branch runs."""
    value: float
    """Of that action,"""
    others: tuple[tuple[str, float], ...]
    """and of those that could be taken instead, the best first."""
    words: str


@dataclass(frozen=True)
class ExitShare:
    """How often one exit answers."""

    name: str
    in_time: float
    late: float


@dataclass(frozen=True)
class Explanation:
    """What is to be expected of frames within one budget, and why.

    Values are in shares of a right answer; in regression an answer without error is worth 1, and one with twice the
    error of the worst exit 0.
    """

    budget_ms: float | None
    """None without a limit, or with one that is not known."""
    told: bool
    """Whether the planner knows it."""
    can_be_met: bool | None
    """Whether the quickest exit can meet it, which is what promises speak of; None for no known limit."""
    slowdown: float
    tau: float
    """Time is taken for so many times shorter."""
    looks: bool
    """Whether what answers say of themselves is looked at."""
    replay: HeldOutReplay | None
    """Why."""
    ahead: bool
    """Whether the whole path to one exit is enqueued at once."""
    value: float
    """Worth of the answers, less the prices of lateness and computing."""
    worth: float
    """Of the answers, where one that comes late is worth nothing."""
    miss: float
    """Probability that no answer comes in time."""
    metric: str
    quality: float | None
    """By that metric, of the answers in time: accuracy, or mean absolute error; None when none comes in time."""
    compute_ms: float
    """Of all units that run, per frame."""
    branches: float
    """How many branches run, per frame."""
    exits: tuple[ExitShare, ...]
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON, where infinite times are None."""
        found = asdict(self)
        found["replay"] = None if self.replay is None else structs.asdict(self.replay)
        for step in found["steps"]:
            step["left_ms"] = step["left_ms"] if step["left_ms"] < math.inf else None
            step["others"] = [{"action": a, "value": v} for a, v in step["others"]]
        return found

    def text(self) -> str:
        """In a few lines."""
        return "\n".join(wording.lines(self))


def explain(
    planner: Planner, budget: Budget | float | None = None, *, hidden: bool = False, ahead: bool = False
) -> Explanation:
    """Tell what the planner would do and why.

    Args:
        planner: as it stands now: its pace, its tau and what it has learnt of budgets.
        budget: a budget, or milliseconds as of `Budget.within`; None for no limit.
        hidden: the planner is not told the budget; with none given, or `Budget.unknown()`, it ends whenever the planner
            believes that it may.
        ahead: the runtime enqueues the whole path of a known budget at once.

    Raises:
        BudgetError: this is no budget, or one that has been cut.
    """
    limit_ms, hidden = _limit(budget, hidden)
    if ahead and not hidden and (committed := _straight(planner, limit_ms)) is not None:
        return committed
    plan, memory, pace = planner.plan, planner.memory.copy(), planner.slowdown
    table = table_now(planner, memory, hidden)
    tau = 1.0 if hidden else tau_now(planner, memory)
    before, before_ms = kernel(planner.profile.preprocess_ms, table.step_ms), planner.profile.preprocess_ms.median
    # What the rules take off the time that has passed, at whatever pace, as profiled.
    since_ms = planner.rules.before_ms / pace
    nominal_ms = math.inf if limit_ms is None else limit_ms / pace
    if hidden:
        looked = Clock.untold(table, before, None if limit_ms is None else nominal_ms, since_ms)
    else:
        looked = Clock.told(table, before, nominal_ms, tau)
    found = forecast(table, planner.paths, looked, hidden or table.late == "best-so-far")
    revisions = None if hidden else learning.revisions(memory)
    look = Look(table, nominal_ms, not hidden, since_ms, tau, revisions, plan.settled)
    way = likely_way(look, planner.paths, planner.rules.profiled_ms, before_ms)
    steps = tuple(_step(planner.manifest, look, boundary, pace) for boundary in way)
    replay = plan.hidden_replay if hidden else plan.known_replay
    return _explanation(planner, limit_ms, found, steps, told=not hidden, tau=tau, table=table, replay=replay)


def table_now(planner: Planner, memory: np.ndarray, hidden: bool) -> Table:
    """The table that a planner decides by at present.

    Args:
        planner: whose.
        memory: what it remembers.
        hidden: whether the budget is not told.
    """
    plan = planner.plan
    known = (plan.known, *plan.stalled)
    if hidden:
        untold = (plan.hidden, *plan.after)
        return untold[min(learning.kind_before(planner.rules, memory) + 1, len(untold) - 1)]
    return known[min(int(memory[STALL_LEVEL]), len(known) - 1)]


def tau_now(planner: Planner, memory: np.ndarray) -> float:
    """The factor by which time is taken for shorter at present.

    Args:
        planner: whose.
        memory: what it remembers.
    """
    return math.exp(max(float(memory[TAU]), planner.rules.least_tau))


def _limit(budget: Budget | float | None, hidden: bool) -> tuple[float | None, bool]:
    """Milliseconds, None for no limit, and whether they are hidden."""
    if budget is None:
        return None, hidden
    given = budget if isinstance(budget, Budget) else Budget.within(budget)
    if given.was_cut:
        raise BudgetError("this budget has been cut: what is in hand is the answer, and nothing is left to decide")
    now = clock() if given.kind == "absolute" else 0.0
    left_ms = round((given.deadline(now) - now) * 1e3, 9)
    return (left_ms if left_ms < math.inf else None), hidden or given.kind == "unknown"


def _step(manifest: Manifest, look: Look, boundary: Boundary, pace: float) -> Step:
    stage, hand, bucket, _ = boundary.place
    names = {ADVANCE: wording.GO_ON, STOP: wording.STOP_HERE} | {i: e.name for i, e in enumerate(manifest.exits)}
    layer = manifest.segments[stage - 1].layer if stage else 0
    time_ms = pace * (look.limit_ms - boundary.elapsed_ms if look.told else boundary.elapsed_ms)
    worth = float(look.table.outlook.worth[hand - 1, bucket]) if hand else None
    in_hand = "nothing in hand"
    if worth is not None and manifest.task == "classification":
        in_hand = f"{names[hand - 1]} in hand ({wording.percent(worth)} likely to be right)"
    elif worth is not None:
        in_hand = f"{names[hand - 1]} in hand (error {(1.0 - worth) * scale_of(manifest):.4g} to be expected)"
    action, others = names[boundary.action], tuple((names[a], v) for a, v in boundary.others)
    where = f"after layer {layer}" if stage else "at the start"
    time = wording.time_words(time_ms, look.told)
    said = wording.step_words(where, time, in_hand, action, boundary.value, others)
    return Step(
        layer, names[hand - 1] if hand else None, boundary.chance, worth, time_ms, action, boundary.value, others, said
    )


def _straight(planner: Planner, limit_ms: float | None) -> Explanation | None:
    """Where the path is committed to as a whole: to one exit, whose own end-to-end time was profiled."""
    manifest, profile, pace = planner.manifest, planner.profile, planner.slowdown
    nominal_ms = math.inf if limit_ms is None else limit_ms / pace
    before_ms = profile.preprocess_ms.median
    chosen = planner.commit(State(remaining_ms=(nominal_ms - before_ms) * pace, elapsed_ms=before_ms * pace))
    if chosen is None:
        return None
    worth = plain_outlook(manifest).worth[:, 0]
    sketches = [e.end_to_end_ms for e in profile.exits]
    # Beyond a sketch's ends lies the little that it does not hold.
    late = [1.0 - float(np.interp(nominal_ms, s.quantiles, LEVELS, left=0.0, right=1.0)) for s in sketches]
    ms = [max(s.mean - profile.preprocess_ms.mean, 0.0) for s in sketches]
    found = []
    for share, w, cost, only in zip(late, worth.tolist(), ms, np.eye(len(worth)), strict=True):
        found.append(Forecast((1.0 - share) * only, share * only, (1.0 - share) * w, cost, 1.0))
    value = [_value(planner, f) for f in found]
    others = sorted(((e.name, value[i]) for i, e in enumerate(manifest.exits) if i != chosen), key=lambda o: -o[1])
    name, time_ms = manifest.exits[chosen].name, (nominal_ms - before_ms) * pace
    said = wording.straight_words(wording.time_words(time_ms, True), name, value[chosen], others)
    step = Step(0, None, 1.0, None, time_ms, name, value[chosen], tuple(others), said)
    return _explanation(planner, limit_ms, found[chosen], (step,), ahead=True, tau=tau_now(planner, planner.memory))


def _value(planner: Planner, found: Forecast) -> float:
    return found.worth - planner.prices.late * float(found.late.sum()) - planner.prices.per_ms * found.compute_ms


def _explanation(
    planner: Planner,
    limit_ms: float | None,
    found: Forecast,
    steps: tuple[Step, ...],
    *,
    tau: float,
    told: bool = True,
    ahead: bool = False,
    table: Table | None = None,
    replay: HeldOutReplay | None = None,
) -> Explanation:
    manifest, pace = planner.manifest, planner.slowdown
    in_time = float(found.in_time.sum())
    worth = found.worth / in_time if in_time > 1e-9 else None
    quality = worth if worth is None or manifest.task == "classification" else (1.0 - worth) * scale_of(manifest)
    return Explanation(
        budget_ms=limit_ms,
        told=told,
        can_be_met=None if limit_ms is None else limit_ms >= planner.rules.quickest_ms * pace,
        slowdown=pace,
        tau=tau,
        looks=table is not None and table.outlook.buckets > 1,
        replay=replay,
        ahead=ahead,
        value=_value(planner, found),
        worth=found.worth,
        miss=float(found.late.sum()),
        metric=manifest.exits[0].quality[0].metric,
        quality=quality,
        compute_ms=found.compute_ms * pace,
        branches=found.branches,
        exits=tuple(
            ExitShare(e.name, float(a), float(b))
            for e, a, b in zip(manifest.exits, found.in_time, found.late, strict=True)
        ),
        steps=steps,
    )
