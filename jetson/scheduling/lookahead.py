"""What each action is worth in one state: one step of the induction, taken again from the values it has left.

A table keeps the best action and its value. Why that action, and by how much, is told by the others' values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.scheduling.costs import Kernel
from jetson.scheduling.induction import THRIFT, Revisions, Table, Values, with_revisions
from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP


class Place(NamedTuple):
    """A state, by its indices into a table."""

    stage: int
    """Segments run."""
    hand: int
    """0 with nothing in hand, else the exit in hand plus 1."""
    bucket: int
    """Of what the answer in hand says of itself."""
    column: int
    """Of the time that is left."""


def alternatives(
    table: Table, paths: Paths, place: Place, revisions: Revisions | None = None, settled: Table | None = None
) -> dict[int, float]:
    """What every action that can be taken is worth, when all that follows is decided by the table.

    Args:
        table: solved.
        paths: of the bundle.
        place: the state.
        revisions: that the table was solved with,
        settled: and the table for what comes after one.

    Returns:
        Values by action, as in the table: of a budget of which only the distribution is known, times the probability
        that it has not ended. Where it has ended there is nothing to choose, and the table's own action is all.
    """
    stage, hand, bucket, column = place
    if column == 0:
        return {int(table.action[place]): float(table.value[place])}
    value, alive = table.value, table.survival
    later = value if settled is None else settled.value
    found: dict[int, float] = {}
    if hand > 0:
        found[STOP] = float(table.outlook.worth[hand - 1, bucket] * alive[column])
    if stage < len(paths.segments):
        after, revised = value[stage + 1, hand, bucket], later[stage + 1, hand, bucket]
        found[ADVANCE] = _ahead(table, after, after[0], table.costs.segments[stage], column, revisions, revised)
    for exit_ in (e for e, needs in enumerate(paths.stages) if needs == stage and e >= hand):
        chances = chances_of(table, hand, bucket, exit_)
        after, revised = chances @ value[stage, exit_ + 1], chances @ later[stage, exit_ + 1]
        # Until the branch is done the old answer is in hand: that is what counts when the budget ends meanwhile.
        # With nothing in hand this branch is the answer, however late.
        lost = value[stage, hand, bucket, 0] if hand > 0 else -table.prices.late
        found[exit_] = _ahead(table, after, lost, table.costs.branches[exit_], column, revisions, revised)
    return found


def chances_of(table: Table, hand: int, bucket: int, exit_: int) -> npt.NDArray[np.float64]:
    """(buckets,): where an exit's answer falls, given what is in hand."""
    outlook = table.outlook
    found: npt.NDArray[np.float64] = outlook.first[exit_] if hand == 0 else outlook.move[hand - 1, exit_, bucket]
    return found


def _ahead(
    table: Table,
    after: npt.NDArray[np.floating],
    lost: float,
    unit: Kernel,
    column: int,
    revisions: Revisions | None,
    revised: npt.NDArray[np.floating],
) -> float:
    """Run a unit now: the value after it, averaged over its time, less what it costs."""
    alive = table.survival
    total_ms = sum(k.cost_ms for k in (*table.costs.segments, *table.costs.branches))
    per_ms = table.prices.per_ms + THRIFT / max(total_ms, 1e-9)
    steps = np.array(unit.steps)
    shares = np.array(unit.shares)[steps < column]
    columns = column - steps[steps < column]
    if column == len(alive) - 1 and (alive[1:] == 1.0).all():
        # Beyond a known budget's last point time does not run out.
        shares, columns = np.ones(1), np.array([column])

    def _revised(values: Values, settled: Values) -> Values:
        if revisions is None:
            return values
        return with_revisions(values, settled, unit, revisions, table.step_ms)

    kept = shares @ _revised(after, revised)[columns]
    left = alive[column] - shares @ _revised(alive, alive)[columns]
    return float(kept + left * lost - per_ms * unit.cost_ms * alive[column])
