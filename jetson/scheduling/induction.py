"""Backward induction (Bellman 1957): from what units take and what answers are worth to the best action everywhere.

A state is the stage (segments run), the answer in hand with the bucket of what it says of itself, and the time that is
left, on a grid. Going backwards, the value of a state is the best of three: stop with the answer in hand, run the
branch of an exit that lies here, or run the next segment. A unit's time is a distribution; what it leaves between two
points of the grid is shared between them, since rounding up would make short units longer than they are.

One induction serves four kinds of budget. The time that is left runs down to 0, where a known budget ends. Of a budget
that nobody knows only a distribution is known: then "time left" is the time to the latest moment it can end, and
`survival` says with which probability it has not ended by then. A budget that may be revised is one whose time left
may become another after every unit, with a probability and a distribution of ratios. What happens to an answer that
is not finished when the budget ends is `late`: it is lost, or the answer in hand counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.errors import BadInput
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.costs import Costs, Kernel
from jetson.scheduling.outlook import Outlook
from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP

Values = npt.NDArray[np.float32]
Actions = npt.NDArray[np.int8]
Late = Literal["lost", "best-so-far"]

THRIFT = 1e-4
"""Value of the time that all units take together: of two actions that are as good, the shorter is taken."""


@dataclass(frozen=True)
class Prices:
    """What counts beside the worth of an answer."""

    per_ms: float = 0.0
    """Lambda: value of a millisecond of computing, as profiled."""
    late: float = 0.5
    """What an answer that comes late costs, beside its worth."""

    @classmethod
    def of(cls, profile: LatencyProfile, per_ms: float = 0.0, per_mj: float = 0.0) -> Prices:
        """Prices of time and of energy, for a device that draws the same power whichever unit runs.

        Args:
            profile: measured on this device.
            per_ms: of a millisecond of computing.
            per_mj: of a millijoule.

        Raises:
            BadInput: a price is negative, infinite or NaN, or energy has one and the profile does not know the power.
        """
        check_prices(per_ms, per_mj)
        if per_mj > 0.0 and profile.power_w is None:
            raise BadInput("the profile does not know the power that the device draws: give a price of time instead")
        return cls(per_ms + per_mj * (profile.power_w or 0.0))


def check_prices(per_ms: float, per_mj: float) -> None:
    """Refuse prices that are none.

    Raises:
        BadInput: a price is negative, infinite or NaN.
    """
    for name, price in (("millisecond", per_ms), ("millijoule", per_mj)):
        if not 0.0 <= price < math.inf:
            raise BadInput(f"the price of a {name} is 0 or more, not {price!r}")


@dataclass(frozen=True)
class Revisions:
    """How a budget is revised while inference runs."""

    rate: float
    """How often: while the time left shrinks from a to b, none comes with probability (b / a) ** rate."""
    ratios: tuple[float, ...]
    """Time left after a revision over the time left before; negative when it is over."""
    shares: tuple[float, ...]
    """How likely each is."""


@dataclass(frozen=True)
class Table:
    """The best action and its value, everywhere.

    Columns: 0 when the budget is over, then the points of the grid from 0 on. The last holds for all time beyond it, as
    for a budget that is told and never ends.
    """

    action: Actions
    """(stages + 1, exits + 1, buckets, points + 1): an exit's index, `ADVANCE` or `STOP`. The second index is 0 with
    nothing in hand, else the exit in hand plus 1."""
    value: Values
    """The same shape."""
    step_ms: float
    outlook: Outlook
    costs: Costs
    prices: Prices
    late: Late
    survival: Values = field(repr=False)
    """(points + 1,): probability that the budget has not ended; 1 for a known budget."""


def solve(
    paths: Paths,
    outlook: Outlook,
    costs: Costs,
    prices: Prices,
    late: Late = "lost",
    survival: npt.NDArray[np.float64] | None = None,
    revisions: Revisions | None = None,
    settled: Table | None = None,
) -> Table:
    """Find the best action in every state.

    Args:
        paths: the bundle's paths.
        outlook: what answers are worth, and what one says of the next.
        costs: what units take.
        prices: of time and of being late.
        late: what happens to an answer that is not finished when the budget ends.
        survival: (points,) for a budget of which only the distribution is known: the probability that it has not ended
            when the time to the last point's moment is that of the grid point. None for a known budget.
        revisions: how a budget is revised meanwhile; None for never.
        settled: the table for what comes after a revision; needed with `revisions`.
    """
    stages, exits, buckets = len(paths.segments), len(paths.branches), outlook.buckets
    columns = costs.points + 1
    alive = np.ones(columns, np.float32)
    alive[0] = 0.0
    if survival is not None:
        alive[1:] = survival
    value = np.full((stages + 1, exits + 1, buckets, columns), -np.inf, np.float32)
    action = np.full(value.shape, STOP, np.int8)
    worth = np.concatenate([np.zeros((1, buckets)), outlook.worth]).astype(np.float32)
    total_ms = sum(k.cost_ms for k in (*costs.segments, *costs.branches))
    per_ms = prices.per_ms + THRIFT / max(total_ms, 1e-9)
    nearest = _nearest(paths, costs)
    first = np.broadcast_to(outlook.first[None, :, None, :], (1, exits, buckets, buckets))
    move = np.concatenate([first, outlook.move]).astype(np.float32)
    shift = _Shift(alive, revisions, costs.step_ms, columns)
    # What is left when the budget ends while a unit runs: with nothing in hand the way to the nearest answer too.
    lost = np.full((stages + 1, exits + 1, buckets), -prices.late, np.float32)
    if late == "best-so-far":
        lost[:, 1:] = worth[None, 1:]
    lost[:, 0] = -prices.late - per_ms * np.array(nearest.ms, np.float32)[:, None]
    for stage in range(stages, -1, -1):
        hands = [0, *(e + 1 for e in range(exits) if paths.stages[e] <= stage)]
        here = value[stage]
        here[1:] = worth[1:, :, None] * alive
        here[1:, :, 0] = lost[stage, 1:]
        here[0, :, 0], action[stage, 0, :, 0] = lost[stage, 0, :], nearest.action[stage]
        if stage < stages:
            cost = costs.segments[stage]
            after = settled.value[stage + 1, hands] if settled is not None else None
            ahead = shift(value[stage + 1, hands], lost[stage + 1, hands], cost, after)
            ahead -= per_ms * cost.cost_ms * alive[1:]
            _improve(here, action[stage], hands, ahead, ADVANCE)
        for exit_ in (e for e in reversed(range(exits)) if paths.stages[e] == stage):
            cost = costs.branches[exit_]
            from_hands = [h for h in hands if h <= exit_]
            # Until the branch is done the old answer is in hand: that is what counts when the budget ends meanwhile.
            done = shift.alive(here[exit_ + 1], cost, settled.value[stage, exit_ + 1] if settled is not None else None)
            ahead = np.einsum("hbc,ci->hbi", move[from_hands, exit_], done)
            # With nothing in hand this branch is the answer, however late: no way to another is to be paid.
            ended = lost[stage, from_hands]
            ended[0] = -prices.late
            ahead += shift.over(cost) * ended[:, :, None] - per_ms * cost.cost_ms * alive[1:]
            _improve(here, action[stage], from_hands, ahead, exit_)
    return Table(action, value, costs.step_ms, outlook, costs, prices, late, alive)


def _improve(here: Values, action: Actions, hands: Sequence[int], ahead: Values, way: int) -> None:
    """Take an action wherever it is better than what was found so far."""
    now = here[hands]
    better = ahead > now[:, :, 1:]
    now[:, :, 1:][better] = ahead[better]
    here[hands] = now
    chosen = action[hands]
    chosen[:, :, 1:][better] = way
    action[hands] = chosen


class _Nearest(NamedTuple):
    ms: list[float]
    """Per stage: mean time to the answer that can be had soonest."""
    action: list[int]


def _nearest(paths: Paths, costs: Costs) -> _Nearest:
    ms, action = [0.0] * (len(paths.segments) + 1), [STOP] * (len(paths.segments) + 1)
    for stage in range(len(paths.segments), -1, -1):
        here = [(costs.branches[e].cost_ms, e) for e, needs in enumerate(paths.stages) if needs == stage]
        if stage < len(paths.segments):
            here.append((costs.segments[stage].cost_ms + ms[stage + 1], ADVANCE))
        ms[stage], action[stage] = min(here)
    return _Nearest(ms, action)


class _Shift:
    """Values after a unit has run, averaged over the time it takes."""

    def __init__(self, alive: Values, revisions: Revisions | None, step_ms: float, columns: int) -> None:
        self._alive = alive
        self._endless = bool((alive[1:] == 1.0).all())
        self._revisions = revisions
        self._step_ms = step_ms
        self._columns = columns

    def __call__(self, after: Values, lost: Values, unit: Kernel, settled: Values | None = None) -> Values:
        """(hands, buckets, points): after a unit that leaves the answer in hand as it is."""
        found: Values = self.alive(after, unit, settled) + self.over(unit) * lost[:, :, None]
        return found

    def alive(self, after: Values, unit: Kernel, settled: Values | None = None) -> Values:
        """The share of the value from where the budget has not ended; `settled` is the value after a revision."""
        values = after
        if self._revisions is not None:
            later = after if settled is None else settled
            values = with_revisions(after, later, unit, self._revisions, self._step_ms)
        points = self._columns - 1
        found: Values = np.zeros((*values.shape[:-1], points), np.float32)
        for step, share in zip(unit.steps, unit.shares, strict=True):
            if step < points:
                found[..., step:] += np.float32(share) * values[..., 1 : points + 1 - step]
        if self._endless:
            found[..., -1] = values[..., -1]
        return found

    def over(self, unit: Kernel) -> Values:
        """(points,): probability that the budget ends while the unit runs."""
        left = np.concatenate([np.zeros(1, np.float32), self._alive[1:]])
        found: Values = self._alive[1:] - self.alive(left, unit)
        return found


def with_revisions(values: Values, settled: Values, unit: Kernel, revisions: Revisions, step_ms: float) -> Values:
    """Values after a unit, with what they are after a revision mixed in.

    Args:
        values: (..., columns), as long as the budget stands; column 0 is left as it is.
        settled: the same, after a revision.
        unit: that may be interrupted by one.
        revisions: how often, and to what.
        step_ms: of the grid.
    """
    last = values.shape[-1] - 2
    places = np.arange(last + 1)
    chance = (1.0 - (places / (places + max(unit.cost_ms / step_ms, 1e-9))) ** revisions.rate).astype(np.float32)
    mixed = np.zeros_like(values[..., 1:])
    for ratio, share in zip(revisions.ratios, revisions.shares, strict=True):
        if ratio >= 0.0 and share > 0.0:
            mixed += np.float32(share) * settled[..., 1 + np.minimum((places * ratio).astype(np.intp), last)]
    found: Values = np.array(values)
    found[..., 1:] = (1.0 - chance) * values[..., 1:] + chance * mixed
    return found
