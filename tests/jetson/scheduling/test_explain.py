"""What the planner says of itself, against frames that are walked through its tables."""

import json
import math

import numpy as np
import pytest

from jetson.errors import BudgetError
from jetson.scheduling import learning
from jetson.scheduling.budget import Budget
from jetson.scheduling.explain import explain
from jetson.scheduling.forecast import forecast
from jetson.scheduling.heldout import draw_latencies, walk
from jetson.scheduling.induction import Prices
from jetson.scheduling.likely import likely_way
from jetson.scheduling.lookahead import Place, alternatives
from jetson.scheduling.memory import LOG, TAU
from jetson.scheduling.outlook import scale_of
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import State
from jetson.scheduling.rules import column_of
from tests.jetson.scheduling.planning import made

FRAMES = 40_000


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    return {task: made(folder / task, task) for task in ("classification", "regression")}


def planner_of(world, **options):
    bundle, profile, samples = world
    return Planner(bundle.manifest, profile, {"fit": samples, "select": samples}, **options)


def walked(planner, world, budget_ms, hidden=False, tau=1.0):
    """Many frames, walked through the table that the planner decides by."""
    bundle, profile, samples = world
    table = planner.plan.hidden if hidden else planner.plan.known
    rng = np.random.default_rng(1)
    latencies = draw_latencies(profile, [u.name for u in bundle.manifest.units], FRAMES, 2)
    budgets = np.full(FRAMES, budget_ms - profile.preprocess_ms.median) if budget_ms else drawn(planner, rng)
    frames = rng.integers(len(samples), size=FRAMES)
    return walk(table, planner.paths, bundle.manifest, samples, frames, latencies, budgets, tau, hidden), table


def drawn(planner, rng):
    """Budgets as unlikely as the planner believes before it has seen any."""
    table = planner.plan.hidden
    alive = table.survival[:0:-1]
    return np.interp(1.0 - rng.random(FRAMES), 1.0 - alive, np.arange(len(alive)) * table.step_ms)


def agrees(told, went, table):
    """Every figure within four standard errors, and a little for the grid."""

    def close(predicted, seen):
        seen = np.asarray(seen, float)
        assert predicted == pytest.approx(seen.mean(), abs=4 * seen.std() / math.sqrt(FRAMES) + 0.004)

    close(told.miss, ~went.in_time)
    close(told.worth, went.worth)
    close(told.value, went.value(table))
    close(told.compute_ms, went.compute_ms)
    close(told.branches, went.branches)
    assert sum(e.in_time + e.late for e in told.exits) == pytest.approx(1.0)
    assert sum(e.late for e in told.exits) == pytest.approx(told.miss)
    return True


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("budget_ms", [0.55, 0.9, 1.4, 2.4])
def test_a_prediction_is_what_frames_come_to(worlds, task, confidence, budget_ms):
    planner = planner_of(worlds[task], confidence=confidence)
    told = explain(planner, budget_ms)
    went, table = walked(planner, worlds[task], budget_ms)
    assert agrees(told, went, table)
    assert told.looks == confidence and told.told and told.replay is not None if confidence else not told.looks
    for exit_, share in enumerate(told.exits):
        assert share.in_time + share.late == pytest.approx((went.exit == exit_).mean(), abs=0.015)


@pytest.mark.parametrize("options", [{"late": "best-so-far"}, {"prices": Prices(per_ms=0.05, late=0.1)}])
def test_lateness_and_prices_are_reckoned_with(worlds, options):
    planner = planner_of(worlds["classification"], confidence=True, **options)
    for budget_ms in (0.8, 1.3):
        assert agrees(explain(planner, budget_ms), *walked(planner, worlds["classification"], budget_ms))


def test_a_careful_tau_is_looked_up_with(worlds):
    planner = planner_of(worlds["classification"], confidence=True)
    planner.memory[TAU] = math.log(1.6)
    told = explain(planner, 1.3)
    assert told.tau == pytest.approx(1.6)
    assert agrees(told, *walked(planner, worlds["classification"], 1.3, tau=1.6))


@pytest.mark.parametrize("budget_ms", [0.9, 1.6, None])
def test_a_budget_that_is_not_told(worlds, budget_ms):
    planner = planner_of(worlds["classification"], confidence=True)
    told = explain(planner, budget_ms, hidden=True)
    assert not told.told and told.budget_ms == budget_ms
    assert agrees(told, *walked(planner, worlds["classification"], budget_ms, hidden=True))


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("pace", [0.8, 1.0, 1.7])
@pytest.mark.parametrize("preprocess_ms", [0.05, 0.6])
def test_tables_are_looked_up_where_the_rules_look(tmp_path, monkeypatch, preprocess_ms, pace, hidden):
    """At every moment of a frame, by both that follow the tables: the whole probability and the most likely way."""
    planner = planner_of(made(tmp_path / "bundle", preprocess_ms=preprocess_ms), confidence=False)
    planner.memory[LOG], planner.memory[TAU] = math.log(pace), math.log(1.1)
    seen = []
    for name, function in (("forecast", forecast), ("likely_way", likely_way)):
        spy = lambda *a, function=function: (seen.extend(a), function(*a))[1]  # noqa: E731
        monkeypatch.setattr(f"jetson.scheduling.explain.{name}", spy)
    explain(planner, 3.0, hidden=hidden)
    table, clock, look = seen[0], seen[2], seen[4]
    steps = np.arange(len(clock.columns)) + 1e-6
    assert len(steps) > (90 if hidden else 300)
    for nominal_ms, column in zip(steps * table.step_ms, clock.columns, strict=True):
        gone_ms = pace * nominal_ms
        right = column_of(planner.rules, planner.memory, 0, 3.0 - gone_ms, gone_ms, not hidden)
        assert right == look.column(nominal_ms)
        # Time goes by in whole steps there, so that of a step that is split either side may be meant.
        assert abs(column - max(right, 1 - hidden)) <= 1


def test_budgets_of_every_kind(worlds, monkeypatch):
    planner = planner_of(worlds["classification"])
    monkeypatch.setattr("jetson.scheduling.explain.clock", lambda: 100.0)
    assert explain(planner, Budget.within(1.2)) == explain(planner, 1.2)
    assert explain(planner, Budget.until(100.0012)).budget_ms == pytest.approx(1.2)
    assert explain(planner, Budget.unbounded()) == explain(planner) == explain(planner, math.inf)
    assert explain(planner, Budget.unknown()) == explain(planner, hidden=True)
    passed = explain(planner, Budget.until(99.0))
    assert passed.miss == pytest.approx(1.0) and passed.quality is None and passed.can_be_met is False
    assert "no answer in time" in passed.text() and "too late" in passed.text()


@pytest.mark.parametrize("wrong", [math.nan, -1.0, "soon", True])
def test_what_is_no_budget(worlds, wrong):
    with pytest.raises(BudgetError):
        explain(planner_of(worlds["classification"]), wrong)


def test_a_cut_budget_leaves_nothing_to_decide(worlds):
    budget = Budget.within(1.0)
    budget.cut()
    with pytest.raises(BudgetError, match="has been cut"):
        explain(planner_of(worlds["classification"]), budget)


def test_without_a_limit_no_answer_is_late(worlds):
    told = explain(planner_of(worlds["classification"]))
    assert told.miss == 0.0 and told.budget_ms is None and told.can_be_met is None
    assert told.to_dict()["steps"][0]["left_ms"] is None


def test_a_slower_device_has_less_time(worlds):
    planner = planner_of(worlds["classification"], confidence=True)
    before = explain(planner, 1.0)
    planner.memory[LOG] = math.log(1.5)
    after = explain(planner, 1.5)
    assert after.slowdown == pytest.approx(1.5) and after.worth == pytest.approx(before.worth, abs=1e-3)
    assert after.compute_ms == pytest.approx(1.5 * before.compute_ms, rel=1e-3)
    assert explain(planner, 1.0).worth < before.worth
    assert "1.5 times as slow" in after.text()


@pytest.mark.parametrize("hidden", [False, True])
def test_steps_lead_from_the_start_to_an_answer(worlds, hidden):
    planner = planner_of(worlds["classification"], confidence=True)
    told = explain(planner, None if hidden else 2.0, hidden=hidden)
    steps = told.steps
    assert steps[0].layer == 0 and steps[0].in_hand is None and steps[-1].action == "stop"
    assert [s.layer for s in steps] == sorted(s.layer for s in steps)
    for step in steps:
        assert all(value <= step.value + 1e-4 for _, value in step.others)
        assert step.others == tuple(sorted(step.others, key=lambda o: -o[1]))
        assert (step.worth is None) == (step.in_hand is None)
    times = [s.left_ms for s in steps]
    assert times == sorted(times, reverse=not hidden)
    chances = [s.chance for s in steps]
    assert chances[0] == 1.0 and chances == sorted(chances, reverse=True) and chances[-1] > 0.0


def test_reasons_in_words(worlds):
    told = explain(planner_of(worlds["classification"], confidence=False), 2.0)
    lines = told.text().splitlines()
    assert lines[0].startswith("budget 2 ms: ") and "answered in time and right" in lines[0]
    assert "at the start, 1.95 ms left, nothing in hand: going on is worth 0." in told.text()
    assert ", the only way" in lines[3]
    assert "in hand (" in lines[-1] and "likely to be right): stopping is worth" in lines[-1]
    error = explain(planner_of(worlds["regression"], confidence=False), 2.0)
    assert "mean absolute error" in error.text() and "to be expected): stopping" in error.text()


def test_an_error_is_told_as_an_error(worlds):
    bundle, _, _ = worlds["regression"]
    told = explain(planner_of(worlds["regression"], confidence=False))
    last = bundle.manifest.exits[-1].quality[0].value
    assert told.metric == "mean_absolute_error"
    assert told.quality == pytest.approx(last) and told.worth == pytest.approx(1.0 - last / scale_of(bundle.manifest))


def test_values_after_revisions_were_learnt(worlds):
    """The reasons go by what the tables were solved with, before they are solved anew and after."""
    planner = planner_of(worlds["classification"], confidence=False)
    for _ in range(40):
        learning.end_frame(planner.rules, planner.memory, 2.0, 1.0, 0.9, 0.4, True)
    for solved in (False, True):
        assert planner.refresh() if solved else True
        for step in explain(planner, 1.2).steps:
            assert all(value <= step.value for _, value in step.others)
    table, now = planner.plan.known, learning.revisions(planner.memory)
    for place in (Place(0, 0, 0, 400), Place(1, 0, 0, 300), Place(1, 1, 0, 300), Place(2, 2, 0, 200)):
        found = alternatives(table, planner.paths, place, now, planner.plan.settled)
        assert max(found.values()) == pytest.approx(float(table.value[place]), abs=1e-4)


def test_a_path_that_is_enqueued_at_once(worlds):
    bundle, profile, _ = worlds["classification"]
    planner = planner_of(worlds["classification"])
    told = explain(planner, 1.4, ahead=True)
    (step,) = told.steps
    before_ms = profile.preprocess_ms.median
    chosen = planner.commit(State(remaining_ms=1.4 - before_ms, elapsed_ms=before_ms))
    assert step.action == bundle.manifest.exits[chosen].name
    assert all(value <= step.value + 1e-3 for _, value in step.others)
    assert told.ahead and not told.looks and told.branches == 1.0 and "enqueued at once" in step.words
    times = next(e for e in profile.exits if e.name == step.action).end_to_end_ms
    levels = np.linspace(0.0005, 0.9995, 4000)
    assert told.miss == pytest.approx((times.quantile(levels) > 1.4).mean(), abs=2e-3)
    assert {a for a, _ in step.others} == {e.name for e in bundle.manifest.exits} - {step.action}
    assert explain(planner, 1.4, hidden=True, ahead=True) == explain(planner, 1.4, hidden=True)


def test_plain_data(worlds):
    for budget in (1.2, None):
        found = json.loads(json.dumps(explain(planner_of(worlds["classification"]), budget).to_dict(), allow_nan=False))
        assert {"value", "miss", "worth", "compute_ms", "branches", "exits", "steps"} <= set(found)
        assert {"action", "value", "others", "words"} <= set(found["steps"][0])
