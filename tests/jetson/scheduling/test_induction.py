"""The tables against a recursion that is written down straight from what they are to maximise."""

import itertools
from functools import cache

import numpy as np
import pytest

from jetson.profiling.profile import Sketch
from jetson.scheduling.costs import Costs, Kernel, kernel, mid_quantiles
from jetson.scheduling.induction import THRIFT, Prices, Revisions, solve
from jetson.scheduling.outlook import Outlook
from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP

STEP_MS = 0.5
POINTS = 18
LAYOUTS = [(1, 2), (1, 1, 2), (2,), (1, 3), (1, 2, 3, 4), (2, 2, 4), (1, 1, 2, 2)]
"""How many segments each exit needs."""


def paths_of(stages):
    depth = stages[-1]
    branches = tuple(range(depth, depth + len(stages)))
    return Paths(tuple(range(depth)), branches, tuple(stages), tuple(0.1 * k for k in range(len(stages))))


def random_kernel(rng):
    steps = np.sort(rng.choice(5, size=rng.integers(1, 4), replace=False))
    shares = rng.dirichlet(np.ones(len(steps)))
    return Kernel(tuple(steps.tolist()), tuple(shares.tolist()), float(steps @ shares) * STEP_MS + 1e-3)


def problem(stages, buckets, seed, points=POINTS):
    """Paths, outlook and costs, all at random."""
    rng = np.random.default_rng(seed)
    paths, exits = paths_of(stages), len(stages)
    move = rng.dirichlet(np.ones(buckets), (exits, exits, buckets))
    move *= np.triu(np.ones((exits, exits)), 1)[:, :, None, None]
    worth = np.sort(rng.random((exits, buckets)), axis=1)
    edges = np.sort(rng.normal(size=(exits, buckets - 1)), axis=1)
    outlook = Outlook(worth, rng.dirichlet(np.ones(buckets), exits), move, edges)
    segments, branches = (tuple(random_kernel(rng) for _ in range(n)) for n in (stages[-1], exits))
    return paths, outlook, Costs(STEP_MS, segments, branches, points)


class Recursion:
    """Values by plain recursion. `point` is the time left in steps; hands count from 0, -1 is nothing."""

    def __init__(self, paths, outlook, costs, prices, late="lost", survival=None, revisions=None):
        self.paths, self.outlook, self.costs, self.prices = paths, outlook, costs, prices
        self.late, self.revisions = late, revisions
        self.survival = np.ones(costs.points) if survival is None else survival
        self.last = costs.points - 1
        self.per_ms = prices.per_ms + THRIFT / sum(k.cost_ms for k in (*costs.segments, *costs.branches))
        self.best = cache(lambda *state: max(self.ways(*state).values()))
        # Of one frame's budget no more than one revision is reckoned with.
        self.settled = self if revisions is None else Recursion(paths, outlook, costs, prices, late, survival)

    def way_on(self, stage):
        """What computing costs from here to the answer that can be had soonest."""
        segments, branches = self.costs.segments, self.costs.branches
        ways = [
            sum(s.cost_ms for s in segments[stage:needs]) + branches[e].cost_ms
            for e, needs in enumerate(self.paths.stages)
            if needs >= stage
        ]
        return self.per_ms * min(ways)

    def outcomes(self, unit, point):
        """Chances, with what the time left is after a unit (None when it is over), and by what goes on from there."""
        # The last point of a known budget stands for all time beyond it, and none of that is ever used up.
        endless = point == self.last and self.survival.min() == 1.0
        for step, share in zip(unit.steps, unit.shares, strict=True):
            after = point if endless else point - step
            if after < 0:
                yield share, None, self
                continue
            stays = share * self.survival[after] / self.survival[point]
            yield share - stays, None, self
            if stays == 0.0:
                continue
            seldom = 0.0
            if self.revisions is not None:
                seldom = 1.0 - (after / (after + unit.cost_ms / self.costs.step_ms)) ** self.revisions.rate
            yield stays * (1.0 - seldom), after, self
            if self.revisions is not None:
                for ratio, chance in zip(self.revisions.ratios, self.revisions.shares, strict=True):
                    revised = None if ratio < 0.0 else min(int(after * ratio), self.last)
                    yield stays * seldom * chance, revised, self.settled

    def hears(self, said, stage, exit_, point):
        """The mean over what the answer of an exit may say of itself."""
        return sum(chance * self.best(stage, exit_, bucket, point) for bucket, chance in enumerate(said))

    def ways(self, stage, hand, bucket, point):
        """What every action is worth, given that the budget has not ended."""
        found, outlook = {}, self.outlook
        if hand >= 0:
            found[STOP] = outlook.worth[hand, bucket]
        keeps = self.late == "best-so-far" and hand >= 0
        over = outlook.worth[hand, bucket] if keeps else -self.prices.late
        if stage < len(self.paths.segments):
            unit = self.costs.segments[stage]
            ended = over - (self.way_on(stage + 1) if hand < 0 else 0.0)
            found[ADVANCE] = -self.per_ms * unit.cost_ms + sum(
                chance * (ended if after is None else then.best(stage + 1, hand, bucket, after))
                for chance, after, then in self.outcomes(unit, point)
            )
        for exit_ in range(hand + 1, len(self.paths.stages)):
            if self.paths.stages[exit_] != stage:
                continue
            unit = self.costs.branches[exit_]
            said = outlook.first[exit_] if hand < 0 else outlook.move[hand, exit_, bucket]
            found[exit_] = -self.per_ms * unit.cost_ms + sum(
                chance * (over if after is None else then.hears(said, stage, exit_, after))
                for chance, after, then in self.outcomes(unit, point)
            )
        return found


def states(table, paths):
    """Every state that a frame may be in, hands counted as the table does."""
    for stage, hand in itertools.product(range(len(paths.segments) + 1), range(len(paths.stages) + 1)):
        if hand == 0 or paths.stages[hand - 1] <= stage:
            for bucket in range(table.outlook.buckets):
                yield stage, hand, bucket


def solved(problem, price, **options):
    """The table, where need be with the one for what comes after a revision."""
    if options.get("revisions") is not None:
        options["settled"] = solve(*problem, price, options.get("late", "lost"))
    return solve(*problem, price, **options)


def compare(stages, buckets, seed, hands, prices=(0.0, 0.03), points=POINTS, **options):
    given = problem(stages, buckets, seed, points)
    if "survival" in options:
        options["survival"] = options["survival"][-points:]
    for per_ms in prices:
        price = Prices(per_ms=per_ms, late=0.3)
        table, truth = solved(given, price, **options), Recursion(*given, price, **options)
        for stage, hand, bucket in states(table, given[0]):
            if (hand > 0) != hands:
                continue
            for point in range(points):
                alive = truth.survival[point]
                if alive == 0.0:
                    continue
                place = (stage, hand, bucket, point + 1)
                ways = truth.ways(stage, hand - 1, bucket, point)
                assert table.value[place] == pytest.approx(alive * max(ways.values()), abs=1e-5), (per_ms, *place)
                assert ways[int(table.action[place])] >= max(ways.values()) - 1e-5, (per_ms, *place)


SURVIVAL = np.linspace(0.0, 1.0, POINTS) ** 0.7
SURVIVAL[-4:] = 1.0
KINDS = {
    "lost": {},
    "best-so-far": {"late": "best-so-far"},
    "hidden": {"late": "best-so-far", "survival": SURVIVAL},
    "revised": {"revisions": Revisions(0.2, (-1.0, 0.4, 1.0, 1.7), (0.1, 0.3, 0.2, 0.4))},
    "revised-best": {"late": "best-so-far", "revisions": Revisions(0.5, (0.5, 3.0), (0.5, 0.5))},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stages", LAYOUTS)
def test_values_and_actions_with_an_answer_in_hand_are_those_of_the_recursion(stages, kind):
    compare(stages, 1 + len(stages) % 3, len(stages), True, **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stages", LAYOUTS)
def test_values_and_actions_with_nothing_in_hand_are_those_of_the_recursion(stages, kind):
    compare(stages, 1 + len(stages) % 3, len(stages), False, **KINDS[kind])


@pytest.mark.parametrize("hands", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stages", LAYOUTS)
def test_on_a_grid_that_is_shorter_than_the_units_the_last_column_is_endless(stages, kind, hands):
    compare(stages, 1 + len(stages) % 3, len(stages), hands, points=6, **KINDS[kind])


@pytest.mark.parametrize("late", ["lost", "best-so-far"])
@pytest.mark.parametrize("stages", LAYOUTS)
def test_without_a_limit_the_best_exit_is_had_however_short_the_grid(stages, late):
    paths, outlook, costs = problem(stages, 1, 7, points=3)
    table = solve(paths, outlook, costs, Prices(), late)
    assert table.value[0, 0, 0, -1] == pytest.approx(outlook.worth.max(), abs=2e-4)
    assert table.value[0, 0, 0, -2] < outlook.worth.max() - 0.05
    # A budget that nobody knows does end, unless it is as likely never to.
    mortal = solve(paths, outlook, costs, Prices(), late, np.array([0.0, 0.9, 1.0]))
    assert mortal.value[0, 0, 0, -1] < outlook.worth.max() - 0.05
    assert np.array_equal(solve(paths, outlook, costs, Prices(), late, np.ones(3)).value, table.value)


@pytest.mark.parametrize("late", ["lost", "best-so-far"])
@pytest.mark.parametrize("per_ms", [0.0, 0.05])
@pytest.mark.parametrize("stages", LAYOUTS)
def test_more_time_is_never_worth_less(stages, per_ms, late):
    paths, outlook, costs = problem(stages, 3, 11)
    table = solve(paths, outlook, costs, Prices(per_ms=per_ms), late)
    for place in states(table, paths):
        assert np.diff(table.value[place]).min() >= -1e-5, place


@pytest.mark.parametrize("stages", LAYOUTS)
def test_when_time_is_dear_the_quickest_exit_answers(stages):
    paths, outlook, costs = problem(stages, 2, 5)
    table = solve(paths, outlook, costs, Prices(per_ms=1e3))
    ways = [sum(s.cost_ms for s in costs.segments[:n]) + costs.branches[e].cost_ms for e, n in enumerate(stages)]
    quickest = int(np.argmin(ways))
    for stage in range(stages[quickest]):
        assert table.action[stage, 0, 0, -1] == ADVANCE
    assert table.action[stages[quickest], 0, 0, -1] == quickest
    assert all((table.action[place] == STOP).all() for place in states(table, paths) if place[1] > 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stages", LAYOUTS)
def test_whatever_time_is_left_every_way_ends_with_an_answer(stages, kind):
    """Time may turn out as anything after a unit: from every state every action that stands there is followed."""
    paths, outlook, costs = problem(stages, 3, 3)
    table = solved((paths, outlook, costs), Prices(per_ms=0.01), **KINDS[kind])
    to_do, seen = [(0, 0)], set()
    while to_do:
        stage, hand = to_do.pop()
        if (stage, hand) in seen:
            continue
        seen.add((stage, hand))
        for action in np.unique(table.action[stage, hand]).tolist():
            if action == STOP:
                assert hand > 0
            elif action == ADVANCE:
                assert stage < stages[-1]
                to_do.append((stage + 1, hand))
            else:
                # The exit lies here and behind the one in hand, so that no way is endless.
                assert stages[action] == stage and action >= hand
                to_do.append((stage, action + 1))


@pytest.mark.parametrize("stages", LAYOUTS)
def test_when_the_budget_is_over_the_nearest_answer_is_taken(stages):
    paths, outlook, costs = problem(stages, 2, 8)
    table = solve(paths, outlook, costs, Prices())
    for stage in range(stages[-1] + 1):
        ways = {
            sum(s.cost_ms for s in costs.segments[stage:needs]) + costs.branches[e].cost_ms: (e, needs)
            for e, needs in enumerate(stages)
            if needs >= stage
        }
        exit_, needs = ways[min(ways)]
        assert (table.action[stage, 0, :, 0] == (exit_ if needs == stage else ADVANCE)).all()
    for place in states(table, paths):
        if place[1] > 0:
            assert table.action[place][0] == STOP


@pytest.mark.parametrize("per_ms", [0.0, 0.01, 10.0])
def test_a_hopeless_budget_takes_the_nearest_exit(per_ms):
    """A branch of 10 ms here, or 5 + 9 ms to the next: with less than 10 ms left both are late."""
    paths, (five, ten, nine) = paths_of((1, 2)), (Kernel((n,), (1.0,), float(n)) for n in (5, 10, 9))
    outlook = Outlook(
        np.array([[0.5], [0.9]]), np.ones((2, 1)), np.triu(np.ones((2, 2)), 1)[..., None, None], np.empty((2, 0))
    )
    table = solve(paths, outlook, Costs(1.0, (five, five), (ten, nine), 40), Prices(per_ms=per_ms))
    assert table.action[1, 0, 0, :11].tolist() == [0] * 11


def test_with_time_enough_for_nothing_but_the_nearest_a_better_one_is_not_tried():
    paths, outlook, _ = problem((1, 2), 1, 0)
    one, three = Kernel((1,), (1.0,), STEP_MS), Kernel((3,), (1.0,), 3 * STEP_MS)
    table = solve(paths, outlook, Costs(STEP_MS, (one, three), (one, one), POINTS), Prices())
    # Column 1 is no time at all: 2 steps lead to the first exit, 5 to the second.
    assert table.action[0, 0, 0, 3] == ADVANCE and (table.action[1, 0, 0, 2:5] == 0).all()


@pytest.mark.parametrize("step_ms", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.5])
def test_a_kernel_keeps_probability_and_mean(spread, step_ms):
    sketch = Sketch.of(2.0 * np.exp(np.random.default_rng(0).normal(0.0, spread, 3000)))
    found = kernel(sketch, step_ms)
    assert sum(found.shares) == pytest.approx(1.0) and min(found.shares) > 0.0
    assert list(found.steps) == sorted(set(found.steps)) and found.steps[0] >= 0
    mean = sum(step * share for step, share in zip(found.steps, found.shares, strict=True)) * step_ms
    assert mean == pytest.approx(found.cost_ms) == pytest.approx(sketch.mean, rel=0.03)
    levels, times = mid_quantiles(sketch)
    assert levels.sum() == pytest.approx(1.0) and (np.diff(times) >= 0.0).all()


def test_a_unit_that_takes_no_time_has_a_kernel():
    assert kernel(Sketch.of([0.0]), 0.1) == ((0,), (pytest.approx(1.0),), 0.0)
