"""Budgets that nobody tells: what the planner learns of when they end, and what it makes of the one before."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson.scheduling.memory import AFTER_KINDS, HIDDEN_LEVEL, LOG
from jetson.scheduling.planner import FIRST_REFRESH, Planner
from jetson.scheduling.policy import ADVANCE, FrameEnd, State
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import honest

FUZZ = settings(max_examples=150, deadline=None, derandomize=True)
BEFORE_MS = 0.7
"""What preparing a frame takes."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    samples = {"fit": honest(1500, seed=1), "select": honest(1500, seed=2)}
    return tiny_bundle(tmp_path_factory.mktemp("unknown") / "bundle", samples=samples)


def test_many_cuts_change_the_table(bundle):
    planner = Planner(bundle.manifest, fake_profile(bundle, spread=0.1))
    before = planner.plan
    for _ in range(4 * FIRST_REFRESH):
        planner.finish(FrameEnd(math.inf, math.inf, 2.0, 2.0, False))
    hidden = planner.plan.hidden
    assert not np.array_equal(hidden.survival, before.hidden.survival)
    last, step = hidden.action.shape[3] - 1, hidden.step_ms
    assert hidden.survival[last - int(1.8 / step)] > 0.85 and hidden.survival[last - int(2.3 / step)] < 0.25
    assert np.array_equal(planner.rules.hidden[0], hidden.action)
    assert np.array_equal(planner.plan.known.action, before.known.action)


def ended(planner, moments):
    """Frames whose budgets nobody knew, and which ran out one after another at these moments; `inf` for one that did
    not."""
    for ms in moments:
        planner.begin(0.1)
        planner.finish(FrameEnd(math.inf, math.inf, min(ms, 3.9), ms, False))


def first_answer(planner):
    """The exit that answers first when nobody tells the budget."""
    stage = 0
    while True:
        action = planner.decide(State(stage=stage, elapsed_ms=BEFORE_MS + 1.0 * stage, known=False))
        if action != ADVANCE:
            return action
        stage += 1


def test_unknown_budgets_are_foretold_by_the_one_before(bundle):
    """Short after long and long after short: every exit on the way would waste the long ones, none the short ones."""
    dear = fake_profile(bundle, branch_ms=1.0, preprocess_ms=BEFORE_MS)
    planner = Planner(bundle.manifest, dear)
    short_ms, long_ms = BEFORE_MS + 2.05, BEFORE_MS + 4.5
    ended(planner, [short_ms, long_ms] * 4 * FIRST_REFRESH)
    assert len(planner.plan.after) == AFTER_KINDS and planner.rules.hidden.shape[0] == AFTER_KINDS + 1
    planner.begin(0.1)  # after a long one
    assert planner.decide(State(stage=1, elapsed_ms=BEFORE_MS + 1.0, known=False)) in (0, 1)
    ended(planner, [short_ms])
    planner.begin(0.1)
    assert first_answer(planner) >= 2


def test_budgets_that_know_nothing_of_one_another_are_planned_for_alike(bundle):
    planner, rng = Planner(bundle.manifest, fake_profile(bundle, branch_ms=0.5)), np.random.default_rng(4)
    ended(planner, rng.uniform(1.0, 4.5, 40 * FIRST_REFRESH))
    planner.refresh()
    alive = [t.survival for t in planner.plan.after if t is not planner.plan.hidden]
    assert len(alive) > 5
    for one in alive:
        assert np.abs(one - planner.plan.hidden.survival).max() < 0.3


@FUZZ
@given(st.lists(st.floats(0.0, 1e4) | st.just(math.inf), min_size=1, max_size=5), st.floats(-2.0, 2.0))
def test_whatever_came_before_there_is_a_table_for_it(bundle, moments, pace):
    planner = Planner(bundle.manifest, fake_profile(bundle), background=True)
    planner.memory[LOG] = pace
    ended(planner, moments)
    planner.begin(0.1)
    assert 0 <= planner.memory[HIDDEN_LEVEL] <= AFTER_KINDS
    planner.decide(State(known=False))
    assert planner.memory[HIDDEN_LEVEL] == (AFTER_KINDS if moments[-1] == math.inf else planner.memory[HIDDEN_LEVEL])
