"""Which exit answers, and what the answer tells, when all goes well."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from jetson import Budget
from jetson.beliefs import Posterior
from jetson.confidence import believe
from jetson.scheduling.policy import STOP, EveryExit

FRAME = np.zeros((8, 8), np.uint8)
PATH = {1: ["segment-1", "branch-2-mlp"], 2: ["segment-1", "branch-2-cnn-add"]}
PATH[3] = ["segment-1", "segment-2", "branch-4-vit"]
PATH[4] = ["segment-1", "segment-2", "segment-3", "head"]


@pytest.mark.parametrize(
    ("budget_ms", "exit_"), [(1.36, 2), (2.34, 2), (2.36, 3), (3.34, 3), (3.36, 4), (1e6, 4), (math.inf, 4)]
)
def test_the_best_exit_that_fits_answers(make, budget_ms, exit_):
    fake = make()
    answer = fake.infer(FRAME, Budget.within(budget_ms))
    assert answer.exit == exit_ and fake.engines.ran == PATH[exit_]
    assert answer.exit_name == ("2:mlp", "2:cnn-add", "4:vit", "6:head")[exit_ - 1]
    assert answer.met_deadline is (None if budget_ms == math.inf else True)
    assert [run.unit for run in answer.trace] == PATH[exit_]


def test_an_answer_tells_its_times(make):
    fake = make()
    answer = fake.infer(FRAME, Budget.within(2.5))
    assert answer.preprocess_ms == pytest.approx(0.1)
    assert answer.elapsed_ms == pytest.approx(2.35) and answer.budget_ms == pytest.approx(2.5)
    assert [run.start_ms for run in answer.trace] == pytest.approx([0.1, 1.1, 2.1])
    assert [run.host_ms for run in answer.trace] == pytest.approx([1.0, 1.0, 0.25])
    assert [run.end_to_end_ms for run in answer.trace] == pytest.approx([1.0, 1.0, 0.25])
    assert answer.slowdown == pytest.approx(1.0) and answer.error is None


def test_an_answer_tells_its_class(make):
    answer = make().infer(FRAME, Budget.within(2.5))
    assert (answer.class_index, answer.label, answer.value) == (2, "class 2", None)
    logits = np.array([0.0, 0.0, 4.0]) / 1.5
    assert answer.confidence == pytest.approx(np.exp(logits[2]) / np.exp(logits).sum(), rel=1e-6)
    assert answer.output.tolist() == [0.0, 0.0, 4.0] and answer.output.dtype == np.float32


def test_an_answer_tells_its_values_in_regression(make):
    answer = make("regression").infer(FRAME, Budget.within(2.5))
    assert answer.value == (4.0, 0.0) and answer.class_index is answer.label is answer.confidence is None


def test_an_answer_is_plain_data(make):
    data = make().infer(FRAME, Budget.within(2.5)).to_dict()
    assert data["class"] == 2 and data["label"] == "class 2" and data["exit_name"] == "4:vit"
    assert data["units"][0]["unit"] == "segment-1" and "error" not in data and "output" not in data
    assert make("regression").infer(FRAME).to_dict()["value"] == [0.0, 5.0]


def test_the_very_moment_of_the_deadline_is_in_time(make):
    fake = make(preprocess_ms=0.0)
    start = fake.clock.now
    fake.engines.ms = dict.fromkeys(fake.engines.ms, 0.0)
    fake.engines.after = lambda name: setattr(fake.clock, "now", start + 0.25) if name == "segment-1" else None
    assert fake.infer(FRAME, Budget.until(start + 0.25)).met_deadline is True
    fake.clock.now = start
    assert fake.infer(FRAME, Budget.until(math.nextafter(start + 0.25, 0))).met_deadline is False


@pytest.mark.parametrize("budget_ms", [0.0, 0.1, 0.7, 1.3])
def test_a_budget_shorter_than_the_quickest_exit_is_answered_by_it_and_marked_late(make, budget_ms):
    fake = make(medians={"branch-2-cnn-add": 0.4})
    answer = fake.infer(FRAME, Budget.within(budget_ms))
    assert fake.engines.ran == PATH[1] and answer.exit == 1
    assert answer.met_deadline is False and answer.elapsed_ms > answer.budget_ms == pytest.approx(budget_ms)


def test_a_moment_that_has_passed_is_answered_and_marked_late(make):
    fake = make(medians={"branch-2-cnn-add": 0.4})
    answer = fake.infer(FRAME, Budget.until(fake.clock.now - 5.0))
    assert answer.exit == 1 and answer.met_deadline is False and answer.budget_ms == pytest.approx(-5000.0)


def test_an_absolute_budget_is_spent_by_whoever_comes_first(make):
    fake = make()
    budget = Budget.until(fake.clock.now + 0.0048)
    assert [fake.infer(FRAME, budget).exit for _ in range(2)] == [4, 2]


def test_a_relative_budget_starts_anew_with_every_frame(make):
    fake, budget = make(), Budget.within(2.4)
    answers = [fake.infer(FRAME, budget) for _ in range(3)]
    assert [a.exit for a in answers] == [3, 3, 3] and all(a.met_deadline for a in answers)


@pytest.mark.parametrize("budget", [None, Budget.unbounded()])
def test_without_a_budget_it_runs_to_the_end(make, budget):
    fake = make()
    answer = fake.infer(FRAME, budget)
    assert fake.engines.ran == PATH[4] and answer.budget_ms is answer.met_deadline is None


def test_an_unknown_budget_takes_the_exits_on_the_way(make):
    fake = make()
    answer = fake.infer(FRAME, Budget.unknown())
    assert fake.engines.ran == [
        *("segment-1", "branch-2-cnn-add", "segment-2", "branch-4-vit", "segment-3", "head"),
    ]
    assert answer.exit == 4 and answer.budget_ms is answer.met_deadline is None


def when(fake, unit, act):
    """Let `act` happen right after a unit has run."""
    fake.engines.after = lambda name: act() if name == unit else None


def test_a_budget_cut_before_anything_ran_is_answered_by_the_nearest_exit(make):
    fake, budget = make(), Budget.within(100)
    budget.cut()
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 1 and fake.engines.ran == PATH[1] and answer.met_deadline is True


def test_a_budget_cut_on_the_way_is_answered_by_the_nearest_exit(make):
    fake, budget = make(), Budget.within(100)
    when(fake, "segment-2", budget.cut)
    assert fake.infer(FRAME, budget).exit == 3
    assert fake.engines.ran == PATH[3]


def test_a_budget_cut_after_an_answer_gives_that_answer(make):
    fake, budget = make(), Budget.unknown()
    when(fake, "branch-4-vit", budget.cut)
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 3 and fake.engines.ran[-1] == "branch-4-vit" and answer.output.tolist() == [0.0, 0.0, 4.0]


def test_a_budget_cut_between_exits_gives_the_best_so_far(make):
    fake, budget = make(), Budget.unknown()
    when(fake, "segment-2", budget.cut)
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 2 and fake.engines.ran[-1] == "segment-2"


def test_a_cut_budget_answers_every_later_frame_at_once(make):
    fake, budget = make(), Budget.unbounded()
    budget.cut()
    assert [fake.infer(FRAME, budget).exit for _ in range(2)] == [1, 1]


def test_a_budget_made_shorter_on_the_way_takes_the_exit_that_still_fits(make):
    fake, budget = make(), Budget.within(100)
    when(fake, "segment-2", lambda: budget.revise(ms=2.4))
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 3 and answer.met_deadline is True and answer.budget_ms == pytest.approx(2.4)


def test_a_budget_made_too_short_is_late_by_the_new_limit(make):
    fake, budget = make(), Budget.within(100)
    when(fake, "segment-2", lambda: budget.revise(ms=0.5))
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 3 and answer.met_deadline is False and answer.budget_ms == pytest.approx(0.5)


def test_a_budget_made_longer_on_the_way_goes_deeper(make):
    fake, budget = make(), Budget.within(2.4)
    when(fake, "segment-2", lambda: budget.revise(ms=50))
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 4 and answer.budget_ms == pytest.approx(50) and answer.met_deadline is True


def test_a_budget_made_longer_after_the_answer_still_goes_deeper(make):
    fake, budget = make(), Budget.within(2.4)
    when(fake, "branch-4-vit", lambda: budget.revise(ms=50))
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 4 and [run.unit for run in answer.trace][-3:] == ["branch-4-vit", "segment-3", "head"]


def test_an_unknown_budget_that_becomes_known_is_kept(make):
    fake, budget = make(), Budget.unknown()
    when(fake, "segment-2", lambda: budget.revise(ms=2.0))
    answer = fake.infer(FRAME, budget)
    assert answer.exit == 2 and answer.met_deadline is False and answer.budget_ms == pytest.approx(2.0)


def test_a_limit_set_on_an_unbounded_run_is_kept(make):
    fake, budget = make(), Budget.unbounded()
    when(fake, "segment-1", lambda: budget.revise(until=fake.clock.now + 0.0013))
    assert fake.infer(FRAME, budget).exit == 3


def test_a_device_that_is_slower_than_profiled_is_noticed_within_the_frame(make):
    fake = make()
    fake.engines.slow = 2.0
    answers = [fake.infer(FRAME, Budget.within(5.0)) for _ in range(6)]
    assert answers[-1].exit == 3 and answers[-1].met_deadline is True
    assert answers[-1].slowdown == pytest.approx(2.0, rel=0.15)


POSTERIORS = [Posterior(alone=(0.1 * k, 0.9), joined=(-0.2, 0.6, 0.3 + 0.1 * k, 0.8) if k else None) for k in range(4)]


def with_posteriors(fake):
    """The runtime, on a bundle that knows how sure its answers may be."""
    exits = fake.runtime.bundle.manifest.exits
    fake.runtime._walker._exits = tuple(
        msgspec.structs.replace(e, posterior=p) for e, p in zip(exits, POSTERIORS, strict=True)
    )
    return fake


def outputs(fake):
    return [fake.engines.outputs[unit][0] for unit in fake.runtime.paths.branches]


def test_the_confidence_is_the_posterior_of_the_exit_alone_when_nothing_was_in_hand(make):
    fake = with_posteriors(make())
    for budget_ms, exit_ in ((1.36, 1), (2.5, 2), (50, 3)):
        answer = fake.infer(FRAME, Budget.within(budget_ms))
        assert answer.exit == exit_ + 1
        assert answer.confidence == believe(outputs(fake)[exit_], 1.5, POSTERIORS[exit_]).confidence


class Listening(EveryExit):
    """Takes every exit and keeps what the runtime told it."""

    def __init__(self, paths):
        super().__init__(paths)
        self.heard = []

    def decide(self, state):
        self.heard.append(replace(state))
        return super().decide(state)


def test_the_confidence_follows_from_every_answer_that_was_in_hand(make):
    fake = with_posteriors(make(policy=Listening))
    answer = fake.infer(FRAME, Budget.unbounded())
    chain, held = [], None
    for output, posterior in zip(outputs(fake), POSTERIORS, strict=True):
        held = believe(output, 1.5, posterior, held)
        chain.append(held.confidence)
    assert answer.exit == 4 and answer.confidence == chain[-1]
    heard = dict.fromkeys((s.answered, s.confidence) for s in fake.runtime.policy.heard if s.answered >= 0)
    assert list(heard) == list(enumerate(chain)) and math.isnan(fake.runtime.policy.heard[0].confidence)


class Backwards(EveryExit):
    """Of the two exits after the first segment, the second first."""

    def decide(self, state):
        return {-1: 1 if state.stage else -1, 1: 0}.get(state.answered, STOP)


def test_an_answer_in_hand_from_a_later_exit_tells_nothing(make):
    fake = with_posteriors(make(policy=Backwards))
    answer = fake.infer(FRAME, Budget.unbounded())
    assert fake.engines.ran == ["segment-1", "branch-2-cnn-add", "branch-2-mlp"] and answer.exit == 1
    assert answer.confidence == believe(outputs(fake)[0], 1.5, POSTERIORS[0]).confidence


def test_in_regression_a_policy_hears_of_no_confidence(make):
    fake = make("regression", policy=Listening)
    fake.infer(FRAME, Budget.unbounded())
    assert all(math.isnan(s.confidence) for s in fake.runtime.policy.heard)
