"""The best set of exits, against every subset there is."""

import itertools

import numpy as np
import pytest

from toolkit.suggest.choose import Candidate, Depth, best_sets, empirical, worth


def case(seed, regression=False):
    """Up to eight exits after random layers, some of them useless, and random budgets."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(2, 6))
    boundary = float(rng.choice([0.0, 0.05, 0.3, 1.0]))
    depth = Depth(tuple(rng.uniform(0.5, 1.5, layers)), boundary_ms=boundary, fixed_ms=0.1)
    candidates = [
        Candidate(f"{layer}:{n}", layer, float(rng.choice([rng.random(), 0.3 + 0.1 * layer])), 2.5 * rng.random())
        for layer in range(1, layers)
        for n in range(rng.integers(1, 4))
    ][:8]
    head = Candidate("head", layers, float(rng.uniform(0.4, 1.0)), 0.05)
    budgets = rng.uniform(0, 1.6 * depth.latency_ms(head, layers), rng.integers(5, 40))
    if regression:
        candidates = [Candidate(c.name, c.layer, c.quality - 2.0, c.branch_ms) for c in candidates]
        head = Candidate("head", layers, head.quality - 2.0, 0.05)
    rng.shuffle(candidates)
    return candidates, head, depth, budgets


@pytest.mark.parametrize("seed", range(150))
def test_no_subset_is_worth_more(seed):
    regression = seed % 3 == 0
    candidates, head, depth, budgets = case(seed, regression)
    nothing = -3.0 if regression else 0.0
    most = min(4, len(candidates))
    sets = best_sets(candidates, head, depth, empirical(budgets), most, nothing)
    everything = [
        [worth((*chosen, head), depth, budgets, nothing) for chosen in itertools.combinations(candidates, number)]
        for number in range(most + 1)
    ]
    for number in range(most + 1):
        best = max(value for values in everything[: number + 1] for value in values)
        found = max(choices[0].worth for choices in sets[: number + 1] if choices)
        assert found == pytest.approx(best, abs=1e-9)
        for choice in sets[number]:
            assert len(choice.exits) == number + 1 and choice.exits[-1] is head
            assert worth(choice.exits, depth, budgets, nothing) == pytest.approx(choice.worth, abs=1e-9)
            assert any(value == pytest.approx(choice.worth, abs=1e-9) for value in everything[number])


def test_the_runner_up_is_the_next_best_ladder():
    depth, head = Depth((1.0, 1.0, 1.0), 0.0), Candidate("head", 3, 0.9, 0.0)
    candidates = [Candidate(f"{n}", 1, 0.5 + n / 100, 0.0) for n in range(5)]
    (_, (best, second)) = best_sets(candidates, head, depth, empirical([1.5, 4.0]), 1)
    assert (best.exits[0].name, second.exits[0].name) == ("4", "3")
    assert best.worth - second.worth == pytest.approx(0.005)


def test_a_boundary_that_costs_enough_makes_an_exit_not_worth_it():
    head, exit_ = Candidate("head", 2, 0.9, 0.0), Candidate("1:mlp", 1, 0.05, 0.0)
    budgets = np.linspace(1.0, 2.5, 1000)
    gains = []
    for boundary in (0.0, 0.3):
        (none,), (one,) = best_sets([exit_], head, Depth((1.0, 1.0), boundary), empirical(budgets), 1)
        gains.append(one.worth - none.worth)
    assert gains[0] > 0 > gains[1]


def test_exits_that_share_a_cut_pay_for_one_boundary():
    depth, head = Depth((1.0, 1.0), boundary_ms=0.25), Candidate("head", 2, 0.9, 0.0)
    exits = [Candidate("1:mlp", 1, 0.5, 0.1), Candidate("1:vit", 1, 0.7, 0.5)]
    (*_, (both,)) = best_sets(exits, head, depth, empirical([1.35, 1.75, 2.5]), 2)
    assert [e.name for e in both.exits] == ["1:mlp", "1:vit", "head"]
    assert both.worth == pytest.approx((0.5 + 0.7 + 0.9) / 3), "the head's two boundaries fit into 2.5 ms exactly"


@pytest.mark.parametrize("most", [0, 3])
def test_without_candidates_there_is_the_head(most):
    sets = best_sets([], Candidate("head", 1, 0.9, 0.5), Depth((1.0,), 0.0), empirical([1.0, 1.5, 2.0]), most)
    assert len(sets) == most + 1 and sets[0][0].worth == pytest.approx(0.6) and not any(sets[1:])


def test_more_exits_than_ladders_have():
    """A second exit that is worse than the first makes no ladder with it."""
    exits = [Candidate("1:a", 1, 0.8, 0.0), Candidate("2:b", 2, 0.6, 0.0)]
    sets = best_sets(exits, Candidate("head", 3, 0.9, 0.0), Depth((1.0, 1.0, 1.0), 0.0), empirical([1, 2, 3]), 2)
    assert [len(s) for s in sets] == [1, 2, 0] and sets[1][0].exits[0].name == "1:a"


def test_as_large_as_the_papers_experiment():
    rng = np.random.default_rng(0)
    candidates = [
        Candidate(f"{i}:{b}", i, 0.3 + 0.05 * i + rng.random() / 10, rng.random())
        for i in range(1, 12)
        for b in range(7)
    ]
    sets = best_sets(
        candidates, Candidate("head", 12, 0.95, 0.01), Depth((1.0,) * 12, 0.05), empirical(rng.uniform(1, 16, 500)), 11
    )
    values = [s[0].worth for s in sets]
    assert len(values) == 12 and values == sorted(values)
