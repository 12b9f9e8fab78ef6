"""What the planner decides, and how it follows what it learns of budgets."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jetson import Budget
from jetson.profiling.profile import Sketch
from jetson.scheduling.induction import Prices
from jetson.scheduling.memory import LOG, STALL_LEVEL, TAU
from jetson.scheduling.outlook import plain_outlook
from jetson.scheduling.planner import FIRST_REFRESH, Planner
from jetson.scheduling.policy import ADVANCE, STOP, FrameEnd, State
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import FRAME, answers, honest, values, virtual

FUZZ = settings(max_examples=150, deadline=None, derandomize=True)
STAGES = (1, 1, 2, 3)
BEFORE_MS = 0.7
"""What preparing a frame takes."""
TIMES = st.floats(-5.0, 20.0) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, 1e300])
SAID = st.floats(-14.0, 14.0) | st.just(math.nan)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planner")


@pytest.fixture(scope="module")
def bundle(folder):
    samples = {"fit": honest(1500, seed=1), "select": honest(1500, seed=2)}
    return tiny_bundle(folder / "bundle", samples=samples)


@pytest.fixture(scope="module")
def regression(folder):
    samples = {"fit": values(1500, seed=1), "select": values(1500, seed=2)}
    return tiny_bundle(folder / "r", task="regression", outputs=2, quality=[2.4, 1.2, 0.6, 0.3], samples=samples)


@pytest.fixture(scope="module")
def looking(bundle):
    """A planner that looks at answers, for budgets that are told and that are not."""
    profile = fake_profile(bundle, spread=0.1, preprocess_ms=BEFORE_MS)
    return Planner(bundle.manifest, profile, recorded(bundle), confidence=True)


def recorded(bundle):
    return {role: bundle.samples(role) for role in ("fit", "select")}


def look_up(table, state):
    """The action of a table, said anew."""
    last = table.action.shape[3] - 1
    if state.known:
        at = state.remaining_ms / table.step_ms
        column = 0 if state.remaining_ms < 0 else min(math.floor(min(at, 1e9)) + 1, last)
    else:
        gone = max(state.elapsed_ms - BEFORE_MS, 0.0)
        column = max(last - math.floor(min(gone / table.step_ms, 1e9)), 0)
    edges = table.outlook.edges[state.answered] if state.answered >= 0 else []
    bucket = sum(state.said >= edge for edge in edges)
    return table.action[state.stage, state.answered + 1, bucket, column]


@FUZZ
@given(st.integers(0, 3), st.integers(-1, 3), SAID, TIMES, st.floats(0.0, 20.0), st.booleans())
def test_a_decision_is_what_the_table_says(looking, stage, answered, said, remaining, elapsed, known):
    if answered >= 0 and STAGES[answered] > stage:
        answered = -1
    state = State(stage, answered, math.nan, said, remaining, elapsed, known)
    action = looking.decide(state)
    assert action == look_up(looking.plan.known if known else looking.plan.hidden, state)
    if action == STOP:
        assert answered >= 0
    else:
        assert stage < 3 if action == ADVANCE else STAGES[action] == stage and action > answered


@FUZZ
@given(st.floats(0.05, 20.0), st.integers(0, 3), TIMES, st.floats(0.0, 20.0), st.booleans())
def test_a_slowdown_is_like_less_time(bundle, looking, slow, stage, remaining, elapsed, known):
    slowed = Planner(bundle.manifest, looking.profile, recorded(bundle), confidence=True) if not SLOWED else SLOWED[0]
    SLOWED[:] = [slowed]
    slowed.memory[LOG] = math.log(slow)
    assert slowed.slowdown == pytest.approx(slow)
    # Away from the edge between two columns, where rounding decides. What has passed counts from the first boundary.
    step = looking.costs.step_ms
    remaining = (math.floor(min(max(remaining, -1e6), 1e6) / step) + 0.5) * step
    elapsed = (math.floor(elapsed / step) + 0.5) * step
    states = [
        State(stage, remaining_ms=remaining * f, elapsed_ms=BEFORE_MS + elapsed * f, known=known) for f in (1, slow)
    ]
    assert looking.decide(states[0]) == slowed.decide(states[1])


SLOWED: list = []


def test_no_limit_is_no_reason_to_warn(bundle, looking):
    planner = Planner(bundle.manifest, looking.profile)
    planner.begin(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [planner.decide(State(stage=s, remaining_ms=math.inf)) for s in range(4)] == [ADVANCE] * 3 + [3]


def test_what_was_decided_before_does_not_matter(bundle, looking):
    """The same state gives the same action whatever states, of whatever budgets, came before."""
    fresh = Planner(bundle.manifest, looking.profile, recorded(bundle), confidence=True)
    rng = np.random.default_rng(0)
    for _ in range(300):
        stage = int(rng.integers(4))
        state = State(stage=stage, remaining_ms=float(rng.uniform(-1, 6)), known=bool(rng.integers(2)))
        looking.decide(State(stage=int(rng.integers(4)), remaining_ms=float(rng.uniform(-1, 6))))
        assert looking.decide(state) == fresh.decide(state)


@pytest.mark.parametrize(("first_ms", "second_ms"), [(100.0, 2.5), (3.6, 1.6), (1.5, 50.0), (2.4, 3.6), (100.0, 0.0)])
def test_a_budget_that_is_revised_on_the_way_is_planned_anew(bundle, first_ms, second_ms):
    profile = fake_profile(bundle)
    with virtual(bundle, profile, Planner(bundle.manifest, profile)) as fake:
        budget = Budget.within(first_ms)
        fake.engines.after = lambda name: budget.revise(ms=second_ms) if name == "segment-1" else None
        revised = fake.infer(FRAME, budget)
    fresh, state, ran = Planner(bundle.manifest, profile), State(stage=1, remaining_ms=second_ms - 1.1), []
    while (action := fresh.decide(state)) != STOP:
        ran.append(f"segment-{state.stage + 1}" if action == ADVANCE else bundle.manifest.exits[action].units[-1])
        state.remaining_ms -= 1.0 if action == ADVANCE else 0.25
        state.stage += action == ADVANCE
        state.answered = max(state.answered, action)
    assert [run.unit for run in revised.trace] == ["segment-1", *ran]


def test_a_look_at_answers_is_shipped_when_it_wins(bundle):
    planner = Planner.of(bundle, fake_profile(bundle, spread=0.1), prices=Prices(per_ms=0.05))
    for replay, table in (
        (planner.plan.known_replay, planner.plan.known),
        (planner.plan.hidden_replay, planner.plan.hidden),
    ):
        assert (table.outlook.buckets > 1) == replay.won and replay.n >= 1000
    known = planner.plan.known_replay
    assert known.won and known.confident > known.plain


def contradicted(seed):
    """The first exit is right where it is sure, and then wrong where it is sure; the others are seldom right."""
    scores = np.random.default_rng(seed).choice([-3.0, 3.0], (1200, 4))
    right = np.zeros((1200, 4), bool)
    right[:, 0] = scores[:, 0] > 0
    right[::5, 3] = True
    return answers(scores, right), answers(scores, np.where(np.arange(4) == 0, ~right, right))


def test_a_look_at_answers_is_not_shipped_when_it_loses(folder):
    fit, select = contradicted(0)
    bundle = tiny_bundle(folder / "no", quality=[0.5, 0.0, 0.0, 0.2], samples={"fit": fit, "select": select})
    profile, prices = fake_profile(bundle, spread=0.1), Prices(per_ms=0.03)
    planner = Planner.of(bundle, profile, prices=prices)
    replay = planner.plan.known_replay
    assert not replay.won and replay.confident < replay.plain and planner.plan.known.outlook.buckets == 1
    plain = Planner(bundle.manifest, profile, prices=prices)
    assert np.array_equal(planner.plan.known.action, plain.plan.known.action)
    upheld = Planner(bundle.manifest, profile, {"fit": fit, "select": fit}, prices=prices)
    assert upheld.plan.known_replay.won and upheld.plan.known.outlook.buckets > 1
    forced = Planner.of(bundle, profile, prices=prices, confidence=True)
    assert not forced.plan.known_replay.won and forced.plan.known.outlook.buckets > 1


@pytest.mark.parametrize("miss_rate", [None, 0.05])
@pytest.mark.parametrize("kind", ["bundle", "regression"])
def test_a_bundle_without_recorded_answers_goes_by_quality(request, kind, miss_rate):
    found = request.getfixturevalue(kind)
    planner = Planner(found.manifest, fake_profile(found), miss_rate=miss_rate)
    assert planner.plan.known_replay is planner.plan.hidden_replay is None and planner.plan.known.outlook.buckets == 1
    assert planner.decide(State(stage=3, remaining_ms=math.inf)) == 3
    assert [planner.decide(State(stage=1, remaining_ms=ms)) for ms in (0.3, 1.5, 50.0)] == [1, ADVANCE, ADVANCE]


def test_a_regression_is_planned_by_what_is_said(regression):
    planner = Planner.of(regression, fake_profile(regression, spread=0.1))
    assert planner.plan.known_replay is not None
    assert planner.decide(State(remaining_ms=math.inf)) == ADVANCE
    assert planner.decide(State(stage=3, answered=2, said=1.0, remaining_ms=0.0)) == STOP


def worths(planner, left_ms):
    """What going straight to each exit comes to, from the time that is left as profiled, and whether any has a chance.

    By the exit's own quantiles, turned around by counting.
    """
    found, levels = [], np.linspace(0.0, 1.0, 8001)
    for quality, exit_ in zip(plain_outlook(planner.manifest).worth[:, 0], planner.profile.exits, strict=True):
        ms = exit_.end_to_end_ms
        in_time = float((ms.quantile(levels) <= left_ms).mean())
        value = in_time * quality - (1.0 - in_time) * planner.prices.late - planner.prices.per_ms * ms.median
        found.append((value, in_time))
    return [value for value, _ in found], max(in_time for _, in_time in found)


@pytest.fixture(scope="module")
def committing(bundle, regression):
    """Planners that pay for time or not, on devices that prepare a frame in no time or in longer than it takes."""
    return [
        Planner(found.manifest, fake_profile(found, spread=0.2, preprocess_ms=before_ms), prices=prices)
        for found in (bundle, regression)
        for before_ms, prices in ((0.01, Prices()), (5.0, Prices(late=0.1)), (2.0, Prices(per_ms=0.1)))
    ]


@FUZZ
@given(st.integers(0, 5), TIMES, st.floats(0.3, 3.0), st.floats(1.0, 2.0))
def test_commit_gives_the_exit_that_is_worth_most(committing, which, remaining, slow, tau):
    planner = committing[which]
    planner.memory[LOG], planner.memory[TAU] = math.log(slow), math.log(tau)
    value, chance = worths(planner, remaining / (slow * tau) + planner.profile.preprocess_ms.median)
    committed = planner.commit(State(remaining_ms=remaining))
    assert value[committed] >= max(value) - 1e-3
    if chance == 0.0:
        medians = [e.end_to_end_ms.median for e in planner.profile.exits]
        assert medians[committed] == min(medians)


@pytest.mark.parametrize("preprocess_ms", [0.01, 7.0])
def test_commit_keeps_to_what_is_told(bundle, preprocess_ms):
    """Straight ways of 1.25 (two of them), 2.25 and 3.25 ms from the first boundary on."""
    planner = Planner(bundle.manifest, fake_profile(bundle, preprocess_ms=preprocess_ms))
    assert planner.commit(State(known=False)) is None
    left = (-math.inf, -1.0, 0.0, 1.2, 1.3, 2.2, 2.3, 3.2, 3.3, math.inf)
    assert [planner.commit(State(remaining_ms=ms)) for ms in left] == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    state = State(remaining_ms=2.3)
    planner.commit(state)
    assert state == State(remaining_ms=2.3)


def test_commit_goes_by_the_time_of_the_whole_path(bundle):
    """Enqueued at once, a path waits for the host once: what is too long unit by unit fits."""
    profile = fake_profile(bundle)
    quicker = tuple(replace(e, end_to_end_ms=Sketch.of([0.6 * e.end_to_end_ms.median])) for e in profile.exits)
    assert Planner(bundle.manifest, profile).commit(State(remaining_ms=2.0)) == 1
    assert Planner(bundle.manifest, replace(profile, exits=quicker)).commit(State(remaining_ms=2.0)) == 3


def test_commit_fears_being_late_as_much_as_that_costs(bundle):
    """The last exit is in time in nine frames of ten: 0.81 right, against 0.77 at the one before, which always is."""
    profile = fake_profile(bundle, spread=0.1)
    left = State(remaining_ms=profile.exits[3].end_to_end_ms.quantile(0.9) - profile.preprocess_ms.median)
    planners = [Planner(bundle.manifest, profile, prices=Prices(late=late)) for late in (0.0, 10.0)]
    assert [planner.commit(left) for planner in planners] == [3, 2]


def test_commit_pays_for_time_where_time_has_a_price(bundle):
    chosen = []
    for per_ms in (0.0, 0.1, 10.0):
        planner = Planner(bundle.manifest, fake_profile(bundle), prices=Prices(per_ms=per_ms))
        chosen.append(planner.commit(State(remaining_ms=math.inf)))
    assert chosen[0] == 3 and chosen == sorted(chosen, reverse=True) and chosen[2] in (0, 1)


def test_answers_that_take_longer_than_promised_make_time_shorter(bundle):
    profile = fake_profile(bundle, spread=0.1)
    planner = Planner(bundle.manifest, profile, miss_rate=0.02)
    least = math.log(planner.plan.tau)
    assert planner.memory[TAU] == planner.rules.least_tau == least >= 0.0

    def column(ms):
        """What the planner does, against a planner that promises nothing with `ms`."""
        plain = Planner(bundle.manifest, profile)
        return [plain.decide(State(stage=s, remaining_ms=ms)) for s in range(4)]

    for _ in range(300):
        planner.finish(FrameEnd(50.0, 50.0, 4.0, math.inf, True))
    for ms in np.arange(0.01, 5.0, 0.13):
        assert [planner.decide(State(stage=s, remaining_ms=ms * planner.plan.tau)) for s in range(4)] == column(ms)
    for _ in range(100):
        planner.begin(0.1)
        for unit in range(7):
            planner.observe(unit, planner.rules.profiled_ms[unit])
        planner.finish(FrameEnd(50.0, 50.0, 60.0, math.inf, True))
    tau = math.exp(planner.memory[TAU])
    assert tau > max(1.5, planner.plan.tau)
    for ms in np.arange(0.01, 5.0, 0.13):
        assert [planner.decide(State(stage=s, remaining_ms=ms * tau)) for s in range(4)] == column(ms)


def revised(rng):
    """A budget that is cut down to a fifth half a millisecond into the frame, as often as not."""
    if rng.random() < 0.5:
        return FrameEnd(3.0, 3.0, 2.9, math.inf, True)
    return FrameEnd(3.0, 0.5 + 2.5 / 5, 0.9, 0.5, True)


def test_many_revisions_change_the_table(bundle):
    planner = Planner(bundle.manifest, fake_profile(bundle, spread=0.1))
    before, rng = planner.plan, np.random.default_rng(0)
    for _ in range(FIRST_REFRESH - 1):
        planner.finish(revised(rng))
    assert planner.plan is before
    planner.finish(revised(rng))
    assert planner.plan is not before and not np.array_equal(planner.plan.known.action, before.known.action)
    assert np.array_equal(planner.rules.known[0], planner.plan.known.action)
    assert planner.plan.known.value[0, 0, 0, -1] < before.known.value[0, 0, 0, -1]
    # Where time may be gone at any moment, an answer is taken on the way.
    assert (planner.plan.known.action[1, 0] >= 0).sum() > (before.known.action[1, 0] >= 0).sum()
    again = planner.plan
    assert planner.refresh() is False and planner.plan is again


def test_frames_as_expected_change_nothing(bundle):
    planner = Planner(bundle.manifest, fake_profile(bundle, spread=0.1))
    before = planner.plan
    for _ in range(5 * FIRST_REFRESH):
        planner.finish(FrameEnd(3.0, 3.0, 2.9, math.inf, True))
        planner.finish(FrameEnd(math.inf, math.inf, 4.0, math.inf, True))
    assert planner.plan is before


def test_in_the_background_tables_are_swapped_as_a_whole(bundle):
    planner = Planner.of(bundle, fake_profile(bundle, spread=0.1))
    seen, rng = {id(planner.rules): planner.rules}, np.random.default_rng(0)
    for _ in range(FIRST_REFRESH):
        planner.finish(revised(rng) if rng.random() < 0.5 else FrameEnd(math.inf, math.inf, 2.0, 2.0, False))
    while planner._thread.is_alive():
        seen[id(planner.rules)] = planner.rules
        assert planner.decide(State(stage=1, remaining_ms=1.5)) in (ADVANCE, 0, 1)
    seen[id(planner.rules)] = planner.rules
    assert planner._thread.daemon and len(seen) == 2
    first, second = seen.values()
    assert not np.array_equal(first.known, second.known) and not np.array_equal(first.hidden, second.hidden)
    assert second.known.shape[1:] == planner.plan.known.action.shape and planner.memory[STALL_LEVEL] < len(second.known)
