import math

import pytest

from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import ADVANCE, STOP, EveryExit, State, StaticExit, Untimed

PATHS = Paths(segments=(0, 3, 5), branches=(1, 2, 4, 6), stages=(1, 1, 2, 3), quality=(0.5, 0.6, 0.7, 0.9))


def walk(policy, known=True):
    """The branches a policy takes when every unit runs, in order."""
    state, taken = State(known=known, remaining_ms=math.inf), []
    for _ in range(20):
        action = policy.decide(state)
        policy.observe(0, 1.0)
        if action == STOP:
            return taken
        if action == ADVANCE:
            state.stage += 1
            assert state.stage <= 3
        else:
            assert PATHS.stages[action] == state.stage
            state.answered = action
            taken.append(action)
    raise AssertionError("the policy does not stop")


@pytest.mark.parametrize("exit_", [0, 1, 2, 3])
def test_a_static_exit_is_the_only_one_taken(exit_):
    policy = StaticExit(PATHS, exit_)
    assert walk(policy) == [exit_] and policy.name == f"static-{exit_ + 1}" and policy.slowdown == 1.0


def test_every_exit_takes_every_exit():
    assert walk(EveryExit(PATHS)) == [0, 1, 2, 3]


def test_without_a_profile_a_known_end_is_the_last_exit_and_an_unknown_one_every_exit():
    assert walk(Untimed(PATHS)) == [3]
    assert walk(Untimed(PATHS), known=False) == [0, 1, 2, 3]


def test_an_unknown_budget_that_becomes_known_goes_straight_on():
    policy, state = Untimed(PATHS), State(known=False)
    state.stage = 1
    assert policy.decide(state) == 0
    state.answered, state.known = 0, True
    assert policy.decide(state) == ADVANCE
