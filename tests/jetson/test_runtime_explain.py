"""A runtime tells what its planner would do, and nothing runs."""

import pytest

from jetson import Budget
from jetson.errors import BadInput
from jetson.scheduling.explain import explain
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import EveryExit
from tests.bundles import fake_profile


def test_the_planner_explains_itself(make):
    made = make()
    made.runtime.policy = planner = Planner(made.runtime.bundle.manifest, fake_profile(made.runtime.bundle))
    told = made.runtime.explain(Budget.within(ms=2.5))
    assert told == explain(planner, 2.5) == made.runtime.explain(2.5)
    assert made.engines.ran == [] and told.steps
    assert made.runtime.explain() == made.runtime.explain(Budget.unbounded())


def test_where_paths_are_enqueued_at_once_it_says_so(make):
    made = make()
    made.runtime.policy = Planner(made.runtime.bundle.manifest, fake_profile(made.runtime.bundle))
    made.runtime._ahead = True
    assert made.runtime.explain(2.5).ahead and not made.runtime.explain(Budget.unknown()).ahead


def test_another_policy_does_not(make):
    with pytest.raises(BadInput, match=r"the planner explains what it does, and here replan.* decides"):
        make().runtime.explain(2.5)
    with pytest.raises(BadInput, match="here every-exit decides"):
        make(policy=EveryExit).runtime.explain()
