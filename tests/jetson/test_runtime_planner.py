"""The runtime with the planner: what counts as the answer, and who is told what."""

import math

import numpy as np
import pytest

from jetson import Budget
from jetson.errors import EngineError
from jetson.scheduling.memory import STALL_LEVEL, TAU
from jetson.scheduling.paths import Paths
from jetson.scheduling.planner import FIRST_REFRESH, Planner
from jetson.scheduling.policy import EveryExit, FrameEnd, Quiet, State
from jetson.scheduling.rules import ADVANCE, STOP
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import FRAME, honest, values, virtual

FAR = [0.5, 0.55, 0.7, 0.9]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    return {
        "classification": tiny_bundle(
            folder / "c", quality=FAR, samples={"fit": honest(600, seed=1), "select": honest(600, seed=2)}
        ),
        "regression": tiny_bundle(
            folder / "r",
            task="regression",
            outputs=2,
            samples={"fit": values(600, seed=1), "select": values(600, seed=2)},
        ),
    }


@pytest.fixture
def run(bundles):
    """A function that gives a runtime with a planner; a segment takes 1 ms, a branch 0.25, preparing a frame 0.1."""
    opened = []

    def start(task="classification", policy=None, late="lost", preprocess_ms=0.1, spread=0.0, **options):
        bundle = bundles[task]
        profile = fake_profile(bundle, preprocess_ms=preprocess_ms, spread=spread)
        chosen = (
            policy(Paths.of(bundle.manifest)) if policy else Planner(bundle.manifest, profile, late=late, **options)
        )
        opened.append(virtual(bundle, profile, chosen, late=late, preprocess_ms=preprocess_ms))
        return opened[-1].__enter__()

    yield start
    for one in reversed(opened):
        one.__exit__(None, None, None)


def when(fake, unit, act):
    """Let `act` happen while a unit runs, at its end."""
    fake.engines.after = lambda name: act() if name == unit else None


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    ("budget_ms", "exit_"), [(0.0, None), (1.2, None), (1.4, 2), (2.3, 2), (2.4, 3), (3.3, 3), (3.4, 4), (math.inf, 4)]
)
def test_the_best_exit_that_fits_answers(run, task, budget_ms, exit_):
    fake = run(task)
    answer = fake.infer(FRAME, Budget.within(budget_ms))
    if exit_ is None:
        assert answer.exit <= 2 and answer.met_deadline is False
    else:
        assert answer.exit == exit_ and answer.met_deadline is (None if budget_ms == math.inf else True)
    assert len(answer.trace) == len(fake.engines.ran) == min(answer.exit, 4) - (answer.exit > 1) + 1


@pytest.mark.parametrize("preprocess_ms", [0.1, 4.0, 20.0])
def test_an_unknown_budget_takes_exits_on_the_way_however_long_a_frame_takes_to_prepare(run, preprocess_ms):
    fake = run(preprocess_ms=preprocess_ms)
    answer = fake.infer(FRAME, Budget.unknown())
    assert answer.exit == 4 and sum(u.startswith("branch") for u in fake.engines.ran) >= 2
    assert answer.met_deadline is answer.budget_ms is None


class First(Quiet):
    """The first exit, then the last, whatever the time."""

    name = "first"

    def __init__(self, paths):
        self.paths = paths

    def decide(self, state):
        if state.answered == 3 or (state.answered >= 0 and state.remaining_ms < 0):
            return STOP
        wanted = 0 if state.answered < 0 else 3
        return wanted if self.paths.stages[wanted] == state.stage else ADVANCE


@pytest.mark.parametrize(
    ("late", "budget_ms", "exit_", "met"),
    [
        ("lost", 10.0, 4, True),
        ("best-so-far", 10.0, 4, True),
        ("lost", 3.55, 4, False),
        ("best-so-far", 3.55, 1, True),
        ("lost", 2.0, 1, False),
        ("best-so-far", 2.0, 1, True),
        ("lost", 1.0, 1, False),
        ("best-so-far", 1.0, 1, False),
    ],
)
def test_what_comes_late_replaces_what_is_in_hand_only_where_late_answers_count(run, late, budget_ms, exit_, met):
    """The first exit answers after 1.35 ms, the last after 3.6."""
    fake = run(policy=First, late=late)
    answer = fake.infer(FRAME, Budget.within(budget_ms))
    assert (answer.exit, answer.met_deadline) == (exit_, met)
    assert answer.output[(exit_ - 1) % 3] == 1.0 + exit_
    assert answer.elapsed_ms >= answer.answered_ms == pytest.approx(1.35 if exit_ == 1 else 3.6)


def test_the_very_moment_of_the_deadline_still_counts(run):
    fake = run(policy=First, late="best-so-far", preprocess_ms=0.0)
    start = fake.clock.now
    fake.engines.after = lambda name: setattr(fake.clock, "now", start + 0.25) if name == "head" else None
    assert fake.infer(FRAME, Budget.until(start + 0.25)).exit == 4
    fake.clock.now = start
    assert fake.infer(FRAME, Budget.until(math.nextafter(start + 0.25, 0))).exit == 1


def test_an_answer_that_an_unknown_cut_overtook_does_not_count(run):
    """The cut comes in the middle of a branch: what was in hand then is the answer, also where late ones are lost."""
    fake, budget = run(policy=EveryExit), Budget.unknown()
    fake.engines.ms["branch-4-vit"] = 0.0
    fake.engines.after = lambda name: (budget.cut(), fake.clock.advance(0.3)) if name == "branch-4-vit" else None
    told = []
    answer = fake.infer(FRAME, budget, told.append)
    assert answer.exit == 2 and [a.exit for a in told] == [1, 2]
    # Of a known budget the answer that comes is the better one.
    fake, budget = run(policy=EveryExit), Budget.within(100.0)
    fake.engines.after = lambda name: (budget.cut(), fake.clock.advance(0.3)) if name == "branch-4-vit" else None
    assert fake.infer(FRAME, budget).exit == 3


@pytest.mark.parametrize("budget", [Budget.unbounded(), Budget.unknown(), Budget.within(100.0)])
def test_every_answer_is_told_in_order(run, budget):
    fake, told = run(policy=EveryExit), []
    answer = fake.infer(FRAME, budget, lambda a: told.append((a, fake.clock.now)))
    assert [a.exit for a, _ in told] == [1, 2, 3, 4] and answer.exit == 4
    assert [a.elapsed_ms for a, _ in told] == pytest.approx([1.35, 1.6, 2.85, 4.1])
    assert [len(a.trace) for a, _ in told] == sorted(len(a.trace) for a, _ in told)
    assert np.array_equal(told[-1][0].output, answer.output)


def test_what_is_told_late_is_not_told_where_it_does_not_count(run):
    fake, told = run(policy=EveryExit, late="best-so-far"), []
    answer = fake.infer(FRAME, Budget.within(2.0), told.append)
    assert [a.exit for a in told] == [1, 2] and answer.exit == 2 and all(a.met_deadline for a in told)


def test_an_engine_that_fails_keeps_what_was_told(run):
    fake, told = run(policy=EveryExit), []
    fake.engines.fails = {"segment-2"}
    answer = fake.infer(FRAME, Budget.within(100.0), told.append)
    assert answer.exit == 2 and answer.error and [a.exit for a in told] == [1, 2]


def ended(fake):
    return [round(x, 6) if isinstance(x, float) else x for x in fake.ends[-1]]


INF = math.inf


def test_how_a_frame_with_a_known_budget_ended(run):
    fake = run()
    fake.infer(FRAME, Budget.within(2.4))
    assert isinstance(fake.ends[0], FrameEnd) and ended(fake) == [2.4, 2.4, 2.35, INF, True]
    fake.infer(FRAME, Budget.until(fake.clock.now + 0.0034))
    assert ended(fake) == [3.4, 3.4, 3.35, INF, True]
    fake.infer(FRAME)
    assert ended(fake) == [INF, INF, 3.35, INF, True]


def test_how_a_frame_with_a_revised_budget_ended(run):
    fake, budget = run(), Budget.within(100.0)
    when(fake, "segment-2", lambda: budget.revise(ms=2.9))
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 3 and ended(fake) == [100.0, 2.9, 2.35, 2.1, True]
    fake, budget = run(), Budget.unbounded()
    when(fake, "segment-1", lambda: budget.revise(ms=1.4))
    fake.infer(FRAME, budget)
    assert ended(fake) == [INF, 1.4, 1.35, 1.1, True]


def test_how_a_frame_with_an_unknown_budget_ended(run):
    fake, budget = run(), Budget.unknown()
    fake.infer(FRAME, budget)
    *_, elapsed, revised, known = ended(fake)
    assert elapsed == pytest.approx(3.35, abs=0.6) and (revised, known) == (INF, False)


def test_an_unknown_budget_ran_out_when_it_was_cut_not_when_that_was_seen(run):
    """A segment of 5 ms in the middle of which the budget is cut: 5 ms later the runtime sees it."""
    fake, budget, start = run(), Budget.unknown(), 1000.0
    engine_run = fake.engines.run

    def cut_within(unit):
        if fake.engines.names[unit] == "segment-3":
            fake.clock.advance(0.1)
            budget.cut()
            fake.clock.advance(5.0)
        engine_run(unit)

    fake.engines.run = cut_within
    answer = fake.infer(FRAME, budget)
    assert answer.exit in (2, 3)
    cut_ms = (budget.cut_at - start) * 1e3
    assert min(fake.ends[0].elapsed_ms, fake.ends[0].revised_at_ms) == pytest.approx(cut_ms, abs=0.01)


def test_an_answer_that_counted_is_not_held_against_the_promise(run):
    """The best so far was in time; that the next unit ran over the end is no late answer."""
    fake = run(late="best-so-far", miss_rate=0.05)
    decide = fake.policy.decide
    fake.policy.decide = lambda s: 1 if (s.stage, s.answered) == (1, -1) else ADVANCE if s.stage < 3 else decide(s)
    before = fake.policy.memory[TAU]
    for _ in range(5):
        answer = fake.infer(FRAME, Budget.within(2.0))
        assert answer.met_deadline and answer.exit == 2
    assert fake.policy.memory[TAU] <= before


def test_a_cut_is_no_broken_promise(run):
    """Who cuts a known budget short wants what is in hand: no planning could have kept to that."""
    fake = run(miss_rate=0.05)
    before = fake.policy.memory[TAU]
    for _ in range(10):
        budget = Budget.within(50.0)
        when(fake, "segment-2", budget.cut)
        assert fake.infer(FRAME, budget).met_deadline
    assert fake.policy.memory[TAU] <= before


def test_the_policy_hears_how_long_the_pause_was(run):
    fake = run()
    fake.infer(FRAME, Budget.within(2.4))
    fake.clock.advance(40.0)
    fake.infer(FRAME, Budget.within(2.4))
    fake.engines.fails = {"segment-1"}
    fake.clock.advance(7.0)
    with pytest.raises(EngineError):
        fake.infer(FRAME, Budget.within(2.4))
    assert fake.gaps[0] == math.inf and fake.gaps[1:] == pytest.approx([40.0, 7.0]) and len(fake.ends) == 2


def test_a_planner_learns_from_frames_and_plans_anew(run):
    fake = run(spread=0.1)
    before = fake.policy.plan
    for _ in range(2 * FIRST_REFRESH):
        budget = Budget.within(4.0)
        when(fake, "segment-1", lambda budget=budget: budget.revise(ms=1.5))
        fake.infer(FRAME, budget)
    assert fake.policy.plan is not before


def test_a_table_that_is_swapped_in_mid_frame_is_looked_up_all_the_same(run):
    """The frame began when the device stalled and there were tables for that; now there is one table again."""
    fake = run(spread=0.1)
    fake.policy.memory[STALL_LEVEL] = 4.0
    fake.policy.rules = fake.policy.rules._replace(known=fake.policy.rules.known[:1])
    assert fake.policy.decide(State(stage=1, remaining_ms=1.5)) in (ADVANCE, 0, 1)
