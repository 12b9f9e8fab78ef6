"""One step of the induction taken again: its best is what the table has, everywhere."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from jetson.scheduling.induction import Prices, Revisions, solve
from jetson.scheduling.lookahead import Place, alternatives
from jetson.scheduling.rules import ADVANCE, STOP
from tests.jetson.scheduling.planning import random_problem

REVISIONS = Revisions(0.3, (-1.0, 0.5, 2.0), (0.3, 0.5, 0.2))


def places(paths, table):
    stages, exits = len(paths.segments), len(paths.branches)
    buckets, columns = table.action.shape[2:]
    hands = [(s, 0) for s in range(stages + 1)]
    hands += [(s, e + 1) for e in range(exits) for s in range(paths.stages[e], stages + 1)]
    for (stage, hand), bucket, column in itertools.product(hands, range(buckets), range(columns)):
        yield Place(stage, hand, bucket, column)


@pytest.mark.parametrize("points", [60, 7])
@pytest.mark.parametrize("late", ["lost", "best-so-far"])
@pytest.mark.parametrize("kind", ["known", "revised", "hidden"])
@pytest.mark.parametrize("stages", [(1, 2, 3), (1, 1, 3), (2,)])
def test_the_best_alternative_is_the_tables(stages, kind, late, points):
    paths, outlook, costs = random_problem(stages, 3, seed=len(stages))
    costs = replace(costs, points=points)
    revisions = REVISIONS if kind == "revised" else None
    alive = np.linspace(0.0, 1.0, costs.points) if kind == "hidden" else None
    settled = solve(paths, outlook, costs, Prices(0.02, 0.3), late) if revisions is not None else None
    table = solve(paths, outlook, costs, Prices(0.02, 0.3), late, alive, revisions, settled)
    checked = 0
    for place in places(paths, table):
        if not np.isfinite(table.value[place]):
            continue
        found = alternatives(table, paths, place, revisions, settled)
        assert max(found.values()) == pytest.approx(float(table.value[place]), abs=1e-4), place
        assert found[int(table.action[place])] == pytest.approx(max(found.values()), abs=1e-4), place
        checked += 1
    assert checked > 5 * points


def test_what_can_be_done_where():
    paths, outlook, costs = random_problem((1, 1, 2), 2, seed=3)
    table = solve(paths, outlook, costs, Prices())
    assert set(alternatives(table, paths, Place(0, 0, 0, 30))) == {ADVANCE}
    assert set(alternatives(table, paths, Place(1, 0, 0, 30))) == {ADVANCE, 0, 1}
    assert set(alternatives(table, paths, Place(1, 1, 1, 30))) == {ADVANCE, STOP, 1}
    assert set(alternatives(table, paths, Place(2, 2, 1, 30))) == {STOP, 2}
    assert set(alternatives(table, paths, Place(2, 3, 1, 30))) == {STOP}
    assert set(alternatives(table, paths, Place(1, 2, 0, 0))) == {STOP}
