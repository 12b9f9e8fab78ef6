import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson.scheduling.policy import ADVANCE, STOP, State
from jetson.scheduling.replan import Replan
from tests.bundles import fake_profile, tiny_bundle

FUZZ = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LAYERS = ((2, "mlp"), (2, "cnn-add"), (4, "vit"), (6, "mlp-mixer"), (6, "head"))
STAGES = (1, 1, 2, 3, 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("r") / "bundle", exits=LAYERS, quality=[0.5, 0.55, 0.7, 0.8, 0.9])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("many")


def make(bundle, **options):
    return Replan(bundle.manifest, fake_profile(bundle, **options))


def target(policy, **state):
    """The exit a policy heads for from here when nothing changes on the way; -1 when it stops."""
    now = State(**state)
    while (action := policy.decide(now)) == ADVANCE:
        now.stage += 1
        now.remaining_ms -= policy.rules.needed_ms[now.stage - 1][-1] - policy.rules.needed_ms[now.stage][-1]
    return -1 if action == STOP else action


def test_the_deepest_exit_that_fits_is_taken(bundle):
    policy = make(bundle, segment_ms=1.0, branch_ms=0.25)
    assert [policy.decide(State(stage=1, remaining_ms=ms)) for ms in (0.2, 0.3, 1.2)] == [1, 1, 1]
    assert [policy.decide(State(stage=1, remaining_ms=ms)) for ms in (1.3, 2.3)] == [ADVANCE, ADVANCE]
    assert target(policy, remaining_ms=1.3) == 1
    assert target(policy, remaining_ms=2.3) == 2
    assert target(policy, remaining_ms=3.3) == 4
    assert target(policy, remaining_ms=1e9) == 4


def test_exactly_the_time_that_is_needed_is_enough(bundle):
    policy = make(bundle, segment_ms=1.0, branch_ms=0.25)
    assert policy.decide(State(stage=3, remaining_ms=0.25)) == 4
    assert policy.decide(State(stage=2, remaining_ms=0.25)) == 2
    assert policy.decide(State(stage=2, remaining_ms=1.25)) == ADVANCE
    assert policy.decide(State(stage=2, remaining_ms=1.2499)) == 2


@pytest.mark.parametrize("remaining", [0.0, -5.0, -math.inf, 0.9])
def test_when_nothing_fits_the_quickest_exit_ahead_is_taken(bundle, remaining):
    policy = make(bundle, medians={"branch-2-mlp": 0.5, "branch-2-cnn-add": 0.9, "branch-6-mlp-mixer": 0.1})
    assert target(policy, remaining_ms=remaining) == 0
    assert target(policy, stage=2, remaining_ms=min(remaining, 0.2)) == 2
    assert policy.decide(State(stage=3, remaining_ms=min(remaining, 0.05))) == 3


def test_when_nothing_better_fits_the_answer_in_hand_stands(bundle):
    policy = make(bundle)
    for remaining in (0.9, 0.0, -3.0, -math.inf):
        assert policy.decide(State(stage=1, answered=1, remaining_ms=remaining)) == STOP
    assert policy.decide(State(stage=1, answered=0, remaining_ms=0.3)) == 1
    assert policy.decide(State(stage=3, answered=4, remaining_ms=100.0)) == STOP
    assert policy.decide(State(stage=1, answered=1, remaining_ms=1.3)) == ADVANCE


def test_no_limit_goes_to_the_last_exit(bundle):
    policy = make(bundle)
    for stage in range(3):
        assert policy.decide(State(stage=stage)) == ADVANCE
    assert policy.decide(State(stage=3)) == 4
    assert policy.decide(State(stage=3, answered=3)) == 4
    assert policy.decide(State(stage=3, answered=4)) == STOP


def test_an_unknown_limit_takes_every_exit_that_improves(bundle):
    policy = make(bundle)
    state = State(known=False)
    actions = []
    while (action := policy.decide(state)) != STOP:
        actions.append(action)
        if action == ADVANCE:
            state.stage += 1
        else:
            state.answered = action
    # Of two exits at one layer the better one is enough.
    assert actions == [ADVANCE, 1, ADVANCE, 2, ADVANCE, 4]


def test_an_unknown_limit_passes_exits_that_would_be_worse(tmp_path):
    exits = ((1, "mlp"), (2, "vit"), (3, "head"))
    worse_middle = make(tiny_bundle(tmp_path / "a", exits=exits, quality=[0.7, 0.6, 0.9]))
    assert worse_middle.decide(State(stage=2, answered=0, known=False)) == ADVANCE
    worse_end = make(tiny_bundle(tmp_path / "b", exits=exits, quality=[0.7, 0.6, 0.7]))
    assert worse_end.decide(State(stage=1, answered=0, known=False)) == STOP


def test_a_deeper_exit_is_taken_whatever_is_believed_of_it(tmp_path):
    bundle = tiny_bundle(tmp_path / "b", exits=((1, "mlp"), (2, "head")), quality=[0.9, 0.8])
    policy = make(bundle)
    assert target(policy, remaining_ms=1e6) == target(policy, remaining_ms=math.inf) == 1
    assert policy.decide(State(stage=2, answered=0, remaining_ms=1e6)) == 1


@pytest.mark.parametrize(("task", "quality"), [("classification", [0.5, 0.6, 0.9]), ("regression", [3.0, 2.0, 1.0])])
def test_of_exits_after_one_layer_the_better_is_taken(tmp_path, task, quality):
    exits = ((1, "mlp"), (1, "vit"), (2, "head"))
    bundle = tiny_bundle(tmp_path / "b", task=task, outputs=2, exits=exits, quality=quality)
    policy = make(bundle, medians={"branch-1-vit": 0.5})
    assert [target(policy, remaining_ms=ms) for ms in (1.3, 1.5, 2.3)] == [0, 1, 2]
    assert policy.decide(State(stage=1, answered=1, remaining_ms=0.3)) == STOP
    assert policy.decide(State(stage=1, answered=0, remaining_ms=0.5)) == 1


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_slowdown_is_like_another_budget(bundle, factor):
    slow, fast = make(bundle, spread=0.1), make(bundle, spread=0.1)
    for _ in range(100):
        slow.observe(0, slow.rules.profiled_ms[0] * factor)
    assert slow.slowdown == pytest.approx(factor)
    for tenths in range(1, 100):
        ms = tenths / 10 + 0.033
        for stage in range(4):
            state = State(stage=stage, remaining_ms=ms * factor)
            assert slow.decide(state) == fast.decide(State(stage=stage, remaining_ms=ms))


def test_a_device_that_slows_down_midway_is_answered_by_a_shallower_exit(bundle):
    policy = make(bundle)
    state = State(stage=2, remaining_ms=1.3)
    assert policy.decide(state) == ADVANCE
    for _ in range(5):
        policy.observe(0, 5.0)
    assert policy.decide(state) == 2


QUALITIES = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.5, 0.7, 0.9]), min_size=5, max_size=5)
MEDIANS = st.lists(st.floats(0.01, 5.0), min_size=8, max_size=8)
SHARED: dict = {}


def policy_of(folder, qualities, medians, spread=0.05):
    key = tuple(qualities)
    if key not in SHARED:
        SHARED[key] = tiny_bundle(folder / str(len(SHARED)), exits=LAYERS, quality=qualities)
    names = [u.name for u in SHARED[key].manifest.units]
    return make(SHARED[key], medians=dict(zip(names, medians, strict=True)), spread=spread)


@FUZZ
@given(QUALITIES, MEDIANS, st.integers(0, 3), st.lists(st.floats(-2, 50), min_size=2, max_size=8))
def test_more_time_never_gives_a_shallower_exit(folder, qualities, medians, stage, times):
    policy = policy_of(folder, qualities, medians)
    needed = policy.rules.needed_ms[stage]

    def heads_for(ms):
        # What decide weighs at this boundary, stated anew: the deepest that fits, else the quickest.
        depth = list(zip(STAGES, qualities, strict=True))
        fitting = [d for d, n in zip(depth, needed, strict=True) if n <= ms]
        return max(fitting) if fitting else max(d for d, n in zip(depth, needed, strict=True) if n == min(needed))

    found = []
    for ms in sorted(times):
        action = policy.decide(State(stage=stage, remaining_ms=ms))
        wanted = heads_for(ms)
        assert action != STOP
        if action == ADVANCE:
            assert wanted[0] > stage
        else:
            assert (STAGES[action], qualities[action]) == wanted and wanted[0] == stage
        found.append(wanted)
    assert found == sorted(found)


@FUZZ
@given(
    QUALITIES,
    MEDIANS,
    st.integers(0, 3),
    st.integers(-1, 4),
    st.floats(-5, 50) | st.just(math.inf) | st.just(-math.inf),
    st.booleans(),
)
def test_every_decision_can_be_carried_out(folder, qualities, medians, stage, answered, remaining, known):
    """An exit of this very stage, or a segment that is still there, or a stop; never an exit that is no gain."""
    if answered >= 0 and STAGES[answered] > stage:
        answered = -1
    policy = policy_of(folder, qualities, medians)
    action = policy.decide(State(stage=stage, answered=answered, remaining_ms=remaining, known=known))
    if action == ADVANCE:
        assert stage < 3
    elif action != STOP:
        assert STAGES[action] == stage
        if answered >= 0 and not known:
            assert qualities[action] > qualities[answered]
        elif answered >= 0 and remaining != math.inf:
            assert action != answered and STAGES[action] >= STAGES[answered]
    if known and answered < 0:
        assert action != STOP
