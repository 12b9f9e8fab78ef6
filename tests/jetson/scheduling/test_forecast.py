"""Probability followed forward comes to what was found going backwards."""

from dataclasses import replace

import numpy as np
import pytest

from jetson.scheduling.costs import Kernel
from jetson.scheduling.forecast import Clock, forecast
from jetson.scheduling.induction import THRIFT, Prices, solve
from tests.jetson.scheduling.planning import random_problem

NOW = Kernel((0,), (1.0,), 0.0)


def value(found, prices, costs):
    total_ms = sum(k.cost_ms for k in (*costs.segments, *costs.branches))
    price = prices.per_ms + THRIFT / total_ms
    return found.worth - prices.late * found.late.sum() - price * found.compute_ms


@pytest.mark.parametrize("late", ["lost", "best-so-far"])
@pytest.mark.parametrize("stages", [(1, 2, 3), (1, 1, 3), (2,)])
@pytest.mark.parametrize("seed", range(3))
def test_forward_and_backward_agree_on_a_known_budget(stages, late, seed):
    paths, outlook, costs = random_problem(stages, 3, seed)
    prices = Prices(late=0.4)
    table = solve(paths, outlook, costs, prices, late)
    for point in (0, 7, 19, 33, costs.points - 1):
        clock = Clock.told(table, NOW, point * costs.step_ms + 1e-9, 1.0)
        found = forecast(table, paths, clock, late == "best-so-far")
        assert found.in_time.sum() + found.late.sum() == pytest.approx(1.0)
        assert value(found, prices, costs) == pytest.approx(float(table.value[0, 0, 0, point + 1]), abs=2e-4)


@pytest.mark.parametrize("stages", [(1, 2, 3), (1, 1, 3), (2,)])
def test_forward_and_backward_agree_on_a_hidden_budget(stages):
    paths, outlook, costs = random_problem(stages, 3, 1)
    alive, prices = np.linspace(0.0, 1.0, costs.points) ** 0.5, Prices(late=0.4)
    table = solve(paths, outlook, costs, prices, "best-so-far", alive)
    found = forecast(table, paths, Clock.untold(table, NOW, None), True)
    assert found.in_time.sum() + found.late.sum() == pytest.approx(1.0)
    assert value(found, prices, costs) == pytest.approx(float(table.value[0, 0, 0, -1]), abs=2e-4)
    # A known end, averaged over when it comes, is the same.
    moments, parts = np.arange(costs.points), []
    for moment in moments:
        parts.append(forecast(table, paths, Clock.untold(table, NOW, moment * costs.step_ms + 1e-9), True))
    ends = alive[::-1] - np.append(alive[::-1][1:], 0.0)
    assert ends @ [p.worth for p in parts] == pytest.approx(found.worth)
    assert ends @ [p.late.sum() for p in parts] == pytest.approx(found.late.sum())
    assert ends @ [p.in_time for p in parts] == pytest.approx(found.in_time)


def test_without_a_limit_nothing_is_late():
    paths, outlook, costs = random_problem((1, 2, 3), 2, 4)
    table = solve(paths, outlook, costs, Prices())
    for clock in (Clock.told(table, NOW, np.inf, 1.0), Clock.told(table, NOW, 1e12, 1.0)):
        found = forecast(table, paths, clock, False)
        assert found.late.sum() == 0.0 and found.in_time.sum() == pytest.approx(1.0)
    assert found.compute_ms > 0.0 and found.branches >= 1.0


@pytest.mark.parametrize("late", ["lost", "best-so-far"])
@pytest.mark.parametrize("per_ms", [0.0, 0.2])
def test_without_a_limit_it_is_the_tables_last_column_however_short_the_grid(per_ms, late):
    paths, outlook, costs = random_problem((1, 2, 3), 3, 2)
    costs = replace(costs, points=4)
    table = solve(paths, outlook, costs, Prices(per_ms), late)
    for budget_ms in (np.inf, 1e9):
        found = forecast(table, paths, Clock.told(table, NOW, budget_ms, 1.0), late == "best-so-far")
        assert found.late.sum() == 0.0
        assert value(found, table.prices, costs) == pytest.approx(float(table.value[0, 0, 0, -1]), abs=2e-4)


def test_what_passes_before_the_first_boundary_is_lost():
    paths, outlook, costs = random_problem((1, 2, 3), 2, 4)
    table = solve(paths, outlook, costs, Prices())
    later = forecast(table, paths, Clock.told(table, Kernel((5,), (1.0,), 0.5), 2.5, 1.0), False)
    sooner = forecast(table, paths, Clock.told(table, NOW, 2.0, 1.0), False)
    assert later.worth == pytest.approx(sooner.worth) and later.compute_ms == pytest.approx(sooner.compute_ms)
    over = forecast(table, paths, Clock.told(table, NOW, -1.0, 1.0), False)
    assert over.late.sum() == pytest.approx(1.0) and over.branches == pytest.approx(1.0)


def test_a_careful_tau_misses_less():
    paths, outlook, costs = random_problem((1, 2, 3), 2, 8)
    table = solve(paths, outlook, costs, Prices(late=0.0))
    budgets = np.linspace(0.5, 4.0, 15)
    missed = [
        np.mean([forecast(table, paths, Clock.told(table, NOW, ms, tau), False).late.sum() for ms in budgets])
        for tau in (1.0, 1.5, 3.0)
    ]
    assert missed[0] > missed[1] > missed[2]


def test_a_price_buys_less_computing():
    paths, outlook, costs = random_problem((1, 2, 3), 2, 0)
    found = []
    for per_ms in (0.0, 1.0):
        table = solve(paths, outlook, costs, Prices(per_ms=per_ms))
        found.append(forecast(table, paths, Clock.told(table, NOW, np.inf, 1.0), False))
        assert value(found[-1], table.prices, costs) == pytest.approx(float(table.value[0, 0, 0, -1]), abs=2e-4)
    assert found[0].compute_ms > found[1].compute_ms
