"""How a runtime is loaded with the planner or with another policy."""

import math

import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.errors import BadInput, BudgetError
from jetson.scheduling.baselines import SIMPLE
from jetson.scheduling.planner import Planner
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import FRAME, honest


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    samples = {"fit": honest(600, seed=1), "select": honest(600, seed=2)}
    return {
        "classification": tiny_bundle(folder / "c", samples=samples),
        "regression": tiny_bundle(folder / "r", task="regression", outputs=2),
    }


@pytest.mark.parametrize("name", ["planner", *SIMPLE, "static-2", "threshold-0.7"])
def test_a_runtime_is_loaded_with_a_policy_by_name(bundles, name):
    runtime = Runtime.load(bundles["classification"], fake_profile(bundles["classification"]), policy=name, warm_up=0)
    assert runtime.policy.name == (name if name != "threshold" else "threshold-0.9")
    assert runtime.infer(FRAME, Budget.within(1e4)).exit >= 1
    runtime.close()


def load(bundles, task="classification", **options):
    return Runtime.load(bundles[task], fake_profile(bundles[task]), warm_up=0, **options)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"policy": "best"}, BadInput, "no policy is called 'best'; there are planner, "),
        ({"policy": "static-9"}, BadInput, "exits 1 to 4"),
        ({"policy": "threshold", "task": "regression"}, BadInput, "no confidence"),
        ({"miss_rate": 0.0}, BadInput, "between 0 and 1"),
        ({"miss_rate": 1e-5}, BudgetError, "cannot be promised from a profile of 2000 rounds"),
        ({"price_per_ms": -1.0}, BadInput, "0 or more"),
        ({"price_per_ms": math.nan}, BadInput, "0 or more"),
        ({"price_per_mj": -1.0}, BadInput, "millijoule is 0 or more"),
        ({"price_per_mj": 0.1}, BadInput, "does not know the power"),
        ({"policy": "replan", "miss_rate": 0.1}, BadInput, "take planner"),
        ({"policy": "replan", "budgets_ms": [5.0]}, BadInput, "take planner"),
        ({"budgets_ms": [5.0, math.nan]}, BudgetError, "cannot be NaN"),
        ({"late": "never"}, BadInput, "late"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(bundles, options, error, says):
    with pytest.raises(error, match=says) as caught:
        load(bundles, **options)
    assert "\n" not in str(caught.value)


def test_budgets_to_be_expected(bundles):
    """The planner begins with them, and plans are not mixed up."""
    one, other = (load(bundles, budgets_ms=ms).policy for ms in ([2.0] * 200, np.array([4.0, math.inf] * 100)))
    assert not np.array_equal(one.plan.hidden.survival, other.plan.hidden.survival)
    again = load(bundles, budgets_ms=[2.0] * 200).policy
    assert again.plan is one.plan and np.array_equal(again.memory, one.memory)


def test_options_pass_through(bundles):
    runtime = load(bundles, miss_rate=0.05, price_per_ms=0.02, late="best-so-far", level=0.9)
    planner = runtime.policy
    assert isinstance(planner, Planner) and (planner.miss_rate, planner.prices.per_ms) == (0.05, 0.02)
    assert planner.rules.miss_rate == 0.05 and planner.plan.known.late == "best-so-far" == planner.late
    assert planner.plan.known_replay is not None and planner._background and runtime.notice is None
    made = load(bundles, policy=lambda manifest, profile: Planner(manifest, profile, confidence=False))
    assert made.policy.plan.known.outlook.buckets == 1
