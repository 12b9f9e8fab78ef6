"""The policies that the planner is compared with, in cases that are computed by hand."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson import Budget
from jetson.errors import BadInput, EngineError
from jetson.scheduling.baselines import SIMPLE, make
from jetson.scheduling.memory import KALMAN
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import ADVANCE, STOP, FrameEnd, State
from jetson.scheduling.replan import Replan
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import FRAME, honest, timed, virtual

FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LAYERS = ((2, "mlp"), (2, "cnn-add"), (4, "vit"), (6, "mlp-mixer"), (6, "head"))
QUALITY = [0.5, 0.55, 0.7, 0.8, 0.9]
STAGES = (1, 1, 2, 3, 3)
NAMES = ["planner", *SIMPLE, "static-1", "static-3", "static-5", "threshold-0.6"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("b")
    recorded = {"fit": honest(600, 5, seed=1), "select": honest(600, 5, seed=2)}
    return {
        "classification": tiny_bundle(folder / "c", exits=LAYERS, quality=QUALITY, samples=recorded),
        "regression": tiny_bundle(
            folder / "r", task="regression", outputs=2, exits=LAYERS, quality=[2.0, 1.9, 1.5, 1.2, 1.0]
        ),
    }


def policy(bundles, name, task="classification", profile=None, **options):
    bundle = bundles[task]
    return make(name, bundle.manifest, profile or fake_profile(bundle, **options))


def went(chosen, remaining_ms, stage=0, known=True, said=math.nan):
    """The branches that a policy takes when units take a millisecond and a quarter, and every answer says `said`."""
    state, taken = State(stage=stage, remaining_ms=remaining_ms, known=known), []
    for _ in range(20):
        action = chosen.decide(state)
        if action == STOP:
            return taken
        state.remaining_ms -= 1.0 if action == ADVANCE else 0.25
        state.stage += action == ADVANCE
        if action != ADVANCE:
            taken.append(action)
            state.answered, state.said = action, said
    raise AssertionError("it does not stop")


def finish(chosen, elapsed_ms=1.0):
    chosen.finish(FrameEnd(5.0, 5.0, elapsed_ms, math.inf, True))


@pytest.mark.parametrize("name", [*SIMPLE, "static-1", "static-5", "static-0005", "threshold-0.5", "threshold-.75"])
def test_a_policy_is_known_by_its_name(bundles, name):
    made = policy(bundles, name)
    wanted = {"threshold": "threshold-0.9", "static-0005": "static-5", "threshold-.75": "threshold-0.75"}
    assert made.name == wanted.get(name, name) and made.slowdown == 1.0 and made.notice is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("static-0", "policy static-0: the bundle has exits 1 to 5"),
        ("static-6", "policy static-6: the bundle has exits 1 to 5"),
        ("static", "no policy is called 'static'; there are planner, .*static-K, threshold-SHARE"),
        ("static--1", "no policy is called"),
        ("static-1.5", "no policy is called"),
        ("threshold-1", "no policy is called"),
        ("threshold-2.5", "no policy is called"),
        ("threshold--0.5", "no policy is called"),
        ("deepest", "no policy is called"),
        ("", "no policy is called ''"),
        ("Replan", "no policy is called 'Replan'"),
        ("static-1\n", "no policy is called"),
    ],
)
def test_a_name_of_no_policy_is_one_line(bundles, name, says):
    with pytest.raises(BadInput, match=says) as caught:
        policy(bundles, name)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["threshold", "threshold-0.5"])
def test_regression_has_nothing_to_hold_against_a_threshold(bundles, name):
    with pytest.raises(BadInput, match=f"policy {name}: regression has no confidence"):
        policy(bundles, name, "regression")


@pytest.mark.parametrize("exit_", range(5))
@pytest.mark.parametrize("remaining", [-1.0, 0.0, 2.0, math.inf])
def test_a_static_policy_takes_its_exit_whatever_the_time(bundles, exit_, remaining):
    assert went(policy(bundles, f"static-{exit_ + 1}"), remaining) == [exit_]
    assert went(policy(bundles, f"static-{exit_ + 1}"), remaining, known=False) == [exit_]


CHOICES = [(0.1, [1]), (1.24, [1]), (1.26, [1]), (2.24, [1]), (2.26, [2]), (3.2, [2]), (3.26, [4]), (1e9, [4])]


@pytest.mark.parametrize("name", ["deepest-mean", "deepest-p95", "deepest-p99"])
@pytest.mark.parametrize(("remaining", "exits"), [*CHOICES, (math.inf, [4]), (-2.0, [1])])
def test_the_deepest_exit_that_fits_is_taken_and_kept_to(bundles, name, remaining, exits):
    chosen = policy(bundles, name)
    assert went(chosen, remaining) == exits
    # Once a frame: whatever comes now, the choice stands until the frame has ended.
    assert went(chosen, 1e9) == exits
    finish(chosen)
    assert went(chosen, 1e9) == [4]


def test_when_nothing_fits_the_quickest_way_is_taken(bundles):
    slow_first = {"branch-2-mlp": 0.5, "branch-2-cnn-add": 0.9, "branch-4-vit": 0.1}
    for name in ("deepest-mean", "deepest-p95", "alert", "replan"):
        assert went(policy(bundles, name, medians=slow_first), 0.5) == [0], name


def test_what_deepest_believes_is_the_mean_or_a_quantile(bundles):
    """A segment of 1 ms that takes 21 ms every tenth time: 3 ms on average, 1 in the middle, 21 at the top."""
    bundle = bundles["classification"]
    profile = timed(fake_profile(bundle), bundle, lambda ms: [ms] * 900 + [21.0 * ms] * 100)
    mean, high = (policy(bundles, f"deepest-{by}", profile=profile) for by in ("mean", "p95"))
    assert mean.rules.needed_ms[0] == pytest.approx([3.75, 3.75, 6.75, 9.75, 9.75])
    assert [went(policy(bundles, "deepest-mean", profile=profile), ms) for ms in (6.0, 7.0, 10.0)] == [[1], [2], [4]]
    assert went(high, 20.0) == [1] and went(policy(bundles, "deepest-p95", profile=profile), 1e3) == [4]
    assert (policy(bundles, "deepest-p99", profile=profile).rules.needed_ms[0] >= high.rules.needed_ms[0]).all()


@pytest.mark.parametrize("name", ["deepest-mean", "deepest-p95", "alert"])
def test_an_unknown_end_takes_every_exit_that_improves(bundles, name):
    assert went(policy(bundles, name), math.inf, known=False) == [1, 2, 4]


@pytest.mark.parametrize("name", ["deepest-p95", "alert"])
def test_a_frame_that_failed_leaves_no_choice_behind(bundles, name):
    """The engine breaks down in a frame with much time; the next has little."""
    bundle = bundles["classification"]
    profile = fake_profile(bundle)
    with virtual(bundle, profile, make(name, bundle.manifest, profile)) as fake:
        fake.engines.fails = {"segment-1"}
        with pytest.raises(EngineError):
            fake.infer(FRAME, Budget.within(100.0))
        fake.engines.fails = set()
        answer = fake.infer(FRAME, Budget.within(1.9))
    assert answer.exit <= 2 and answer.met_deadline


def test_alert_takes_a_shallower_exit_on_a_slower_device(bundles):
    bundle = bundles["classification"]
    profile = fake_profile(bundle)
    with virtual(bundle, profile, make("alert", bundle.manifest, profile)) as fake:
        exits = [[fake.infer(FRAME, Budget.within(6.0)).exit for _ in range(12)][-1]]
        fake.engines.slow = 2.2
        exits.append([fake.infer(FRAME, Budget.within(6.0)).exit for _ in range(12)][-1])
        fake.engines.slow = 1.0
        exits.append([fake.infer(FRAME, Budget.within(6.0)).exit for _ in range(12)][-1])
    assert exits == [5, 3, 5]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_alert_takes_what_is_best_of_what_is_in_time(bundles, task):
    """Its filter sure of the pace: the best exit whose median fits well."""
    for remaining, exit_ in ((1.6, 1), (2.7, 2), (4.0, 4), (50.0, 4), (math.inf, 4)):
        chosen = policy(bundles, "alert", task)
        for _ in range(30):
            for unit in (0, 1):
                chosen.observe(unit, chosen.rules.profiled_ms[unit])
            finish(chosen, 1.25)
            chosen.begin(0.1)
        assert went(chosen, remaining) == [exit_], remaining


def test_preparing_a_frame_is_no_slowdown_for_alert(bundles):
    bundle = bundles["classification"]
    profile = fake_profile(bundle, preprocess_ms=5.0)
    with virtual(bundle, profile, make("alert", bundle.manifest, profile), preprocess_ms=5.0) as fake:
        exits = [fake.infer(FRAME, Budget.within(5.0 + 4.2)).exit for _ in range(20)]
    assert exits[-1] == 5


@pytest.mark.parametrize("pace", [0.6, 1.0, 2.2])
def test_alert_measures_units_and_nothing_between_them(bundles, pace):
    """The whole frame may take as long as it likes: of a frame the filter takes what its units took."""
    chosen = policy(bundles, "alert")
    for frame in range(40):
        chosen.begin(0.1)
        for unit in (0, 1) if frame % 2 else (0, 3, 4):
            chosen.observe(unit, pace * chosen.rules.profiled_ms[unit])
        finish(chosen, 100.0)
    assert chosen.memory[KALMAN] == pytest.approx(pace, rel=1e-3)


def test_alert_takes_a_frame_as_one_measurement(bundles):
    """A unit that takes thrice its time counts by its share of the frame."""
    chosen = policy(bundles, "alert")
    for _ in range(60):
        chosen.begin(0.1)
        chosen.observe(0, chosen.rules.profiled_ms[0])
        chosen.observe(1, 3.0 * chosen.rules.profiled_ms[1])
        finish(chosen)
    assert chosen.memory[KALMAN] == pytest.approx((1.0 + 3.0 * 0.25) / 1.25, rel=1e-3)


def test_threshold_stops_at_the_first_exit_that_is_sure(bundles):
    sure = math.log(0.91 / 0.09)
    assert went(policy(bundles, "threshold"), math.inf, said=sure) == [0]
    assert went(policy(bundles, "threshold"), math.inf, said=math.log(0.89 / 0.11)) == [0, 1, 2, 3, 4]
    assert went(policy(bundles, "threshold-0.95"), math.inf, said=sure) == [0, 1, 2, 3, 4]
    chosen, state = policy(bundles, "threshold"), State(stage=1, answered=0, said=0.0, remaining_ms=math.inf)
    assert chosen.decide(state) == 1
    state.answered, state.said = 1, sure
    assert chosen.decide(state) == STOP


@pytest.mark.parametrize(
    ("remaining", "exits"),
    [(-1.0, [0]), (1.3, [0]), (1.55, [0, 1]), (2.7, [0, 1]), (2.8, [0, 1, 2]), (4.3, [0, 1, 2, 3, 4])],
)
def test_threshold_leaves_out_what_would_come_too_late(bundles, remaining, exits):
    assert went(policy(bundles, "threshold"), remaining, said=0.0) == exits


def test_threshold_reckons_with_the_slowdown_and_without_a_limit_with_none(bundles):
    chosen = policy(bundles, "threshold")
    for _ in range(50):
        chosen.observe(0, 2.0)
    assert went(chosen, 2.7, said=0.0) == [0, 1]
    assert went(chosen, 2.7, known=False, said=0.0) == [0, 1, 2, 3, 4]


def test_replan_is_what_it_was(bundles):
    """By name or by class, the deepest that fits now, decided anew at every boundary."""
    bundle = bundles["classification"]
    profile = fake_profile(bundle, spread=0.1)
    by_name, by_class = make("replan", bundle.manifest, profile, 0.8), Replan(bundle.manifest, profile, 0.8)
    assert (by_name.rules.needed_ms == by_class.rules.needed_ms).all() and by_name.name == by_class.name == "replan"
    for remaining in (0.5, 1.3, 1.7, 2.5, 3.4, math.inf, -1.0):
        for stage in range(4):
            state = State(stage=stage, remaining_ms=remaining)
            assert by_name.decide(state) == by_class.decide(state)
    assert (make("replan", bundle.manifest, profile, 0.99).rules.needed_ms[0] > by_name.rules.needed_ms[0]).all()


MS = st.floats(0.01, 6.0)
LIMITS = st.sampled_from([0.0, 1e-6, 1.35, math.inf, None]) | st.floats(0.0, 12.0)
FRAMES = st.lists(st.tuples(LIMITS, st.floats(0.0, 20.0), LIMITS), min_size=1, max_size=4)


@FUZZ
@given(st.sampled_from(["lost", "best-so-far"]), st.lists(MS, min_size=8, max_size=8), FRAMES)
@pytest.mark.parametrize("name", NAMES)
def test_every_policy_answers_whatever_befalls(bundles, name, late, times, frames):
    """Units take other times than profiled; budgets are revised or, where nobody knows them, cut at some moment."""
    bundle = bundles["classification"]
    if (name, late) not in MADE:
        profile = fake_profile(bundle, spread=0.1)
        planner = {"planner": lambda m, p: Planner(m, p, {r: bundle.samples(r) for r in ("fit", "select")}, late=late)}
        MADE[name, late] = profile, planner.get(name, lambda m, p: make(name, m, p))(bundle.manifest, profile)
    profile, chosen = MADE[name, late]
    with virtual(bundle, profile, chosen, late=late) as fake:
        fake.engines.ms = dict(zip(fake.engines.ms, times, strict=True))
        for limit, moment_ms, revised in frames:
            budget, start = Budget.unknown() if limit is None else Budget.within(limit), fake.clock.now

            def happen(_unit, budget=budget, start=start, moment_ms=moment_ms, revised=revised):
                if (fake.clock.now - start) * 1e3 >= moment_ms:
                    budget.cut() if revised is None else budget.revise(ms=revised)

            fake.engines.after = happen
            answer = fake.infer(FRAME, budget)
            ran = [run.unit for run in answer.trace]
            exit_ = bundle.manifest.exits[answer.exit - 1]
            assert exit_.units[-1] in ran and answer.error is None and len(ran) == len(set(ran)) <= 8
            segments = [unit for unit in ran if unit.startswith("segment")]
            assert segments == [f"segment-{i + 1}" for i in range(len(segments))]
        assert len(fake.ends) == len(fake.gaps) == len(frames)


MADE: dict = {}
