"""What whole frames teach: how careful to be, how budgets are revised, when those that nobody knows run out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson.scheduling import learning
from jetson.scheduling.memory import BOOST, CUT_BINS, CUTS, FRAMES, LEFT, LOG, PROFILED, REVISED, TAU, blank
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import ADVANCE, FrameEnd, State
from tests.bundles import fake_profile, tiny_bundle

FUZZ = settings(max_examples=100, deadline=None, derandomize=True)
PROMISED = 0.05
NO_END = (math.inf, math.inf)
POINTS, STEP_MS, QUICKEST_MS = 641, 0.01, 1.0
REACH_MS = STEP_MS * (POINTS - 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("l") / "bundle")


@pytest.fixture
def promising(bundle):
    return Planner(bundle.manifest, fake_profile(bundle, spread=0.1), miss_rate=PROMISED)


def end(planner, budget_ms, elapsed_ms, final_ms=None, revised_at_ms=math.inf, known=True, deep=True, pace=1.0):
    """A frame that went straight to the last exit, or to the first."""
    planner.begin(0.1)
    for unit in (0, 3, 5, 6) if deep else (0, 1):
        planner.observe(unit, pace * planner.rules.profiled_ms[unit])
    planner.finish(FrameEnd(budget_ms, budget_ms if final_ms is None else final_ms, elapsed_ms, revised_at_ms, known))


def tau(planner):
    """The factor by which the planner takes time for shorter, as it shows: most time at which it does not go on."""
    memory, rules = planner.memory, planner.rules
    return math.exp(max(memory[TAU], rules.least_tau) + memory[LOG] + memory[BOOST])


def test_late_answers_make_time_shorter_and_answers_in_time_longer_again(promising):
    taus = [tau(promising)]
    for _ in range(10):
        end(promising, 5.0, 6.0)
        taus.append(tau(promising))
    assert taus == sorted(taus) and taus[-1] > 1.5 * taus[0]
    for _ in range(5000):
        end(promising, 5.0, 4.0)
    assert tau(promising) == pytest.approx(promising.plan.tau, rel=1e-3)


def test_time_is_never_taken_for_longer_than_calibrated_nor_for_much_too_short(bundle):
    rng = np.random.default_rng(0)
    planner = Planner(bundle.manifest, fake_profile(bundle, spread=0.3), miss_rate=0.05)
    for share in (0.0, 1.0, 0.5, 0.0, 1.0):
        for _ in range(200):
            end(planner, 5.0, 6.0 if rng.random() < share else 4.0)
            assert planner.plan.tau * (1 - 1e-9) <= tau(planner) <= math.exp(learning.MOST_TAU) * (1 + 1e-9)


def test_without_a_promise_nothing_is_taken_for_shorter(bundle):
    planner = Planner(bundle.manifest, fake_profile(bundle))
    for _ in range(50):
        end(planner, 5.0, 6.0)
    assert tau(planner) == 1.0


@pytest.mark.parametrize(
    "frame",
    [(0.5, 6.0), (1.0, 6.0), (math.inf, 6.0), (50.0, 6.0, 1.0), (50.0, 2.0, 0.1, 0.5), (*NO_END, None, 2.0, False)],
)
def test_budgets_that_cannot_be_met_do_not_count(promising, frame):
    before = promising.memory[TAU]
    for _ in range(20):
        end(promising, *frame)
    assert promising.memory[TAU] <= before


def test_a_budget_that_somebody_cuts_does_not_count_and_one_that_is_revised_does(promising):
    """Both are 4 ms in the end and answered after 4.5: the one cut at 4, the other revised after 1."""
    before = promising.memory[TAU]
    for _ in range(20):
        end(promising, 50.0, 4.5, 4.0, 4.0)
    assert promising.memory[TAU] == before
    for _ in range(20):
        end(promising, 50.0, 4.5, 4.0, 1.0)
    assert promising.memory[TAU] > before + 0.5
    between = promising.memory[TAU]
    end(promising, 50.0, 4.0, 5.0, 4.5)
    assert promising.memory[TAU] < between, "what is cut after the answer was in time"


@pytest.mark.parametrize(("longer", "counts"), [(1.0, False), (1.015, False), (1.03, True)])
def test_who_took_a_way_about_as_short_as_the_shortest_could_do_no_better(bundle, longer, counts):
    profile = fake_profile(bundle, medians={"branch-2-cnn-add": longer * 1.25 - 1.0})
    planner = Planner(bundle.manifest, profile, miss_rate=PROMISED)
    before = planner.memory[TAU]
    planner.begin(0.1)
    for unit in (0, 2):
        planner.observe(unit, planner.rules.profiled_ms[unit])
    planner.finish(FrameEnd(1.5, 1.5, 1.6, math.inf, True))
    assert (planner.memory[TAU] > before) == counts


def test_being_late_on_the_shortest_way_with_time_to_spare_counts_in_part(bundle):
    moved = []
    for way, late_ms in (((0, 2), 5.1), ((0, 1), 5.1), ((0, 2), 4.9)):
        planner = Planner(bundle.manifest, fake_profile(bundle, medians={"branch-2-cnn-add": 0.1}), miss_rate=PROMISED)
        before = planner.memory[TAU]
        planner.begin(0.1)
        for unit in way:
            planner.observe(unit, planner.rules.profiled_ms[unit])
        planner.finish(FrameEnd(5.0, 5.0, late_ms, math.inf, True))
        moved.append(planner.memory[TAU] - before)
    shortest, longer, in_time = moved
    assert in_time < 0.0 < shortest < longer
    assert (shortest - in_time) / (longer - in_time) == pytest.approx(0.15)


def test_what_a_slow_device_cannot_meet_does_not_count(promising):
    for _ in range(50):
        for unit in range(7):
            promising.observe(unit, 3.0 * promising.rules.profiled_ms[unit])
    before = promising.memory[TAU]
    for budget_ms, counts in ((3.0, False), (4.0, True)):
        for _ in range(20):
            end(promising, budget_ms, 6.0, pace=3.0)
        assert promising.slowdown == pytest.approx(3.0, rel=0.02) and (promising.memory[TAU] > before) == counts


def test_what_made_a_frame_late_does_not_excuse_it(promising):
    """The device turns three times as slow in mid-frame: as the frame began, 3 ms were time enough."""
    before = promising.memory[TAU]
    end(promising, 3.0, 9.0, pace=3.0)
    assert promising.slowdown > 2.5 and promising.memory[TAU] > before
    between = promising.memory[TAU]
    end(promising, 3.0, 9.0, pace=3.0)
    assert promising.memory[TAU] == between, "now that is known"


def drift(planner, frames, seed, swing, noise):
    """Frames on a device whose pace swings unseen: the exits that the planner takes, and whether they are late."""
    rng, late = np.random.default_rng(seed), []
    medians, paths = planner.rules.profiled_ms, planner.paths
    for frame in range(frames):
        pace = math.exp(swing * math.sin(frame / 150)) * math.exp(rng.normal(0.0, noise))
        budget_ms = math.exp(rng.uniform(math.log(1.0), math.log(6.0)))
        planner.begin(0.1)
        state, ran = State(remaining_ms=budget_ms), []
        while state.answered < 0:
            action = planner.decide(state)
            unit = paths.segments[state.stage] if action == ADVANCE else paths.branches[action]
            ran.append(unit)
            state.remaining_ms -= medians[unit] * pace
            state.stage += action == ADVANCE
            state.answered = max(action, -1)
            planner.memory[PROFILED] += medians[unit]
        elapsed_ms = budget_ms - state.remaining_ms
        planner.finish(FrameEnd(budget_ms, budget_ms, elapsed_ms, math.inf, True))
        if budget_ms >= (medians[0] + medians[1:3].min()) * pace:
            late.append(elapsed_ms > budget_ms)
    return np.array(late)


@pytest.mark.parametrize(("swing", "noise"), [(0.0, 0.15), (0.2, 0.05), (0.3, 0.1), (0.15, 0.3)])
def test_in_the_long_run_promises_hold_on_a_device_that_drifts_unseen(bundle, swing, noise):
    profile = fake_profile(bundle, spread=0.05)
    late = drift(Planner(bundle.manifest, profile, miss_rate=PROMISED), 4000, 0, swing, noise)
    assert late.mean() <= PROMISED
    careless = drift(Planner(bundle.manifest, profile), 1000, 0, swing, noise)
    assert careless.mean() > late.mean()


def revise(planner, rng, frames, rate, ratios, shares):
    """Budgets of 5 ms, answered after 3: while time left shrinks, a revision comes with so high a rate."""
    for _ in range(frames):
        at_ms = 5.0 * (1.0 - rng.random() ** (1.0 / rate))
        ratio = rng.choice(ratios, p=shares)
        if at_ms < 3.0:
            end(planner, 5.0, 3.0, at_ms + ratio * (5.0 - at_ms), at_ms)
        else:
            end(planner, 5.0, 3.0)


def test_rate_and_ratios_of_revisions_are_recovered(promising):
    assert learning.revisions(promising.memory) is None
    rng, rates, found = np.random.default_rng(0), [], []
    for _ in range(10):
        revise(promising, rng, 300, 0.6, [0.3, 0.8, 1.4, -0.5], [0.4, 0.2, 0.1, 0.3])
        learnt = learning.revisions(promising.memory)
        rates.append(learnt.rate)
        found.append(learnt.shares)
    assert np.mean(rates) == pytest.approx(0.6, rel=0.1) and np.max(rates) < 0.9
    shares = dict(zip(learnt.ratios, np.mean(found, axis=0), strict=True))
    assert sum(learnt.shares) == pytest.approx(1.0)
    assert shares.pop(-1.0) == pytest.approx(0.3, abs=0.05)
    for ratio, share in ((0.3, 0.4), (0.8, 0.2), (1.4, 0.1)):
        near = min(shares, key=lambda r: abs(r - ratio))
        assert abs(near - ratio) <= 0.0625 + 1e-9 and shares.pop(near) == pytest.approx(share, abs=0.05)
    assert max(shares.values()) < 0.01


def test_much_more_time_is_as_much_more_as_is_reckoned_with(promising):
    for _ in range(30):
        end(promising, 5.0, 3.0, 400.0, 1.0)
    learnt = learning.revisions(promising.memory)
    assert learnt.shares[-1] == pytest.approx(1.0) and learnt.ratios[-1] > 1.7


def test_a_revision_now_and_then_is_an_accident_and_is_forgotten(promising):
    for _ in range(1500):
        end(promising, 5.0, 3.0)
    end(promising, 5.0, 3.0, 4.0, 1.0)
    end(promising, 5.0, 3.0)
    assert learning.revisions(promising.memory) is None
    revise(promising, np.random.default_rng(0), 100, 1.0, [0.5], [1.0])
    assert learning.revisions(promising.memory).rate > 0.1
    for _ in range(1500):
        end(promising, 5.0, 3.0)
    assert learning.revisions(promising.memory) is None
    assert promising.memory[FRAMES] == pytest.approx(200.0, rel=0.01) and promising.memory[REVISED] < 0.5


def test_a_budget_that_was_endless_at_first_is_revised_to_nothing_that_could_be_compared(promising):
    for _ in range(50):
        end(promising, math.inf, 3.0, 4.0, 1.0)
    assert learning.revisions(promising.memory) is None


def surviving(memory):
    """Survival by time, upwards."""
    return learning.survival(memory, QUICKEST_MS, STEP_MS, POINTS)[::-1]


def guess():
    """Every order of magnitude between the quickest answer and the end as likely."""
    moments = np.linspace(0.0, REACH_MS, CUT_BINS + 1)
    shortest = 0.8 * QUICKEST_MS
    share = np.log(np.maximum(moments, 1e-9) / shortest) / math.log(REACH_MS / shortest)
    return np.interp(STEP_MS * np.arange(POINTS), moments, 1.0 - np.clip(share, 0.0, 1.0))


def test_before_any_frame_survival_is_the_guess():
    assert surviving(blank()) == pytest.approx(guess(), abs=1e-9)


COUNTS = st.lists(st.sampled_from([0.0, 0.0, 0.5, 3.0, 100.0]), min_size=CUT_BINS, max_size=CUT_BINS)


@FUZZ
@given(COUNTS, COUNTS)
def test_survival_falls_from_one_and_stays_a_probability(cuts, left):
    memory = blank()
    memory[CUTS : CUTS + CUT_BINS], memory[LEFT : LEFT + CUT_BINS] = cuts, left
    alive = surviving(memory)
    assert alive[0] == 1.0 and (np.diff(alive) <= 1e-12).all() and alive.min() >= 0.0
    assert np.isfinite(alive).all()


@pytest.mark.parametrize("censored", [False, True])
def test_with_many_frames_survival_is_how_budgets_really_end(censored):
    """Kaplan and Meier: also where frames are answered before their budget runs out."""
    rng, memory = np.random.default_rng(0), blank()
    ends = rng.gamma(4.0, 0.7, 200_000)
    ends = ends[ends < REACH_MS]
    answered = rng.uniform(0.0, 2 * REACH_MS, len(ends)) if censored else np.full(len(ends), np.inf)
    for place, moments in ((CUTS, ends[ends <= answered]), (LEFT, answered[ends > answered])):
        memory[place : place + CUT_BINS] = np.histogram(moments, CUT_BINS, (0.0, REACH_MS))[0]
    moments = STEP_MS * np.arange(POINTS)
    truth = 1.0 - np.searchsorted(np.sort(ends), moments) / len(ends)
    assert surviving(memory) == pytest.approx(truth, abs=0.02)


def test_frame_by_frame_survival_comes_near_how_budgets_end(promising):
    rng = np.random.default_rng(0)
    costs, quickest = promising.costs, promising.rules.quickest_ms
    for _ in range(600):
        end(promising, math.inf, 2.2 + rng.normal(0.0, 0.05), math.inf, 2.0 + 0.1 * rng.random(), False)
    alive = learning.survival(promising.memory, quickest, costs.step_ms, costs.points)[::-1]
    at = lambda ms: alive[int(ms / costs.step_ms)]  # noqa: E731
    assert at(1.8) > 0.85 and at(2.3) < 0.15


@pytest.mark.parametrize("pace", [1.0, 2.0])
def test_when_unknown_budgets_end_counts_from_the_first_boundary(bundle, pace):
    """However long frames take to prepare."""
    learnt = []
    for before_ms in (0.01, 3.0):
        planner = Planner(bundle.manifest, fake_profile(bundle, preprocess_ms=before_ms))
        planner.memory[LOG] = math.log(pace)
        for cut_ms, answered_ms in ((2.03, 2.1), (math.inf, 2.9)):
            moments = [before_ms + ms * pace for ms in (answered_ms, cut_ms)]
            planner.finish(FrameEnd(*NO_END, *moments, False))
        learnt.append(planner.memory[CUTS : LEFT + CUT_BINS])
        place = int(2.03 / (planner.costs.step_ms * (planner.costs.points - 1)) * CUT_BINS)
        assert learnt[-1][place] > 0.9 and learnt[-1].sum() > 1.9
    assert np.array_equal(*learnt)


def test_budgets_that_last_longer_than_answers_take_are_not_taken_for_ended(promising):
    costs = promising.costs
    for _ in range(300):
        end(promising, math.inf, 3.2, math.inf, math.inf, False)
    alive = learning.survival(promising.memory, 1.0, costs.step_ms, costs.points)[::-1]
    assert alive[int(3.0 / costs.step_ms)] > 0.85
