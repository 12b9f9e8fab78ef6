"""What goes wrong on the way, calls from several threads, odd policies; and whatever else may happen."""

import math
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson import Budget, Runtime
from jetson.errors import BadInput, BudgetError, EngineError, FrameError, MissingExtra
from jetson.scheduling.policy import STOP, Untimed
from tests.bundles import fake_profile

FRAME = np.zeros((8, 8), np.uint8)
FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LAST = ["segment-1", "segment-2", "segment-3", "head"]


def when(fake, unit, act):
    """Let `act` happen right after a unit has run."""
    fake.engines.after = lambda name: act() if name == unit else None


def test_an_engine_that_fails_before_any_answer_is_an_error_that_names_the_unit(make):
    fake = make()
    for units in ({"segment-1"}, {"segment-2", "branch-2-mlp", "branch-2-cnn-add"}):
        fake.engines.fails = units
        with pytest.raises(EngineError, match=f"unit {'segment-1' if len(units) == 1 else 'segment-2'} failed"):
            fake.infer(FRAME, Budget.within(100))
    fake.engines.fails = set()
    assert fake.infer(FRAME, Budget.within(100)).exit == 4


@pytest.mark.parametrize(("fails", "exit_"), [({"segment-2"}, 2), ({"segment-2", "branch-2-cnn-add"}, 1)])
def test_a_segment_that_fails_before_any_answer_leaves_the_best_branch_before_it(make, fails, exit_):
    fake = make()
    fake.engines.fails = fails
    answer = fake.infer(FRAME, Budget.within(100))
    assert answer.exit == exit_ and "unit segment-2 failed" in answer.error
    branch = fake.runtime.bundle.manifest.exits[exit_ - 1].units[-1]
    assert [run.unit for run in answer.trace] == ["segment-1", branch]


def test_an_engine_that_fails_after_an_answer_keeps_the_answer_and_says_so(make):
    fake = make()
    fake.engines.fails = {"segment-3"}
    answer = fake.infer(FRAME, Budget.unknown())
    assert answer.exit == 3 and "unit segment-3 failed" in answer.error
    assert answer.to_dict()["error"] == answer.error
    assert [run.unit for run in answer.trace][-1] == "branch-4-vit"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_exit_that_gives_no_number_is_a_failure(make, task, bad):
    fake = make(task)
    fake.engines.outputs[-1][0, 0] = bad
    with pytest.raises(EngineError, match="unit head gave NaN or infinite values"):
        fake.infer(FRAME)
    answer = fake.infer(FRAME, Budget.unknown())
    assert answer.exit == 3 and np.isfinite(answer.output).all() and "unit head gave" in answer.error


def test_very_large_logits_are_still_a_confidence(make):
    fake = make()
    fake.engines.outputs[-1][0] = [3e38, -3e38, 0.0]
    with np.errstate(over="ignore"):
        assert fake.infer(FRAME).confidence == 1.0


def test_an_answer_does_not_change_with_later_frames(make):
    fake = make()
    first = fake.infer(FRAME)
    kept = first.output.copy()
    fake.engines.outputs[-1][:] = 99.0
    fake.infer(FRAME)
    assert (first.output == kept).all()


class Bug(RuntimeError):
    """Not one of ours."""


def test_a_bug_keeps_its_own_class_and_frees_the_runtime(make):
    fake = make()

    def fail():
        raise Bug

    when(fake, "segment-1", fail)
    with pytest.raises(Bug):
        fake.infer(FRAME)
    fake.engines.after = lambda _name: None
    assert fake.infer(FRAME).exit == 4


@pytest.mark.parametrize("budget", [8, 8.0, "8", math.inf, object(), Budget])
def test_what_is_no_budget_is_refused(make, budget):
    with pytest.raises(BudgetError, match=r"a budget is a Budget, e\.g\. Budget\.within\(ms=8\), not"):
        make().infer(FRAME, budget)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (None, "a numpy array or a Pillow image, not NoneType"),
        ([[0]], "not list"),
        ("frame.png", "not str"),
        (np.zeros((8, 8, 4), np.uint8), "drop the alpha channel first"),
        (np.zeros((8, 8, 3), np.uint8), "height x width x 1"),
        (np.zeros((0, 8), np.uint8), "cannot be used"),
        (np.zeros((8, 8)), "this one is float64"),
        (np.zeros((1, 8, 9), np.float32), "must have the model's own shape"),
        (np.full((1, 8, 8), np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_before_anything_runs(make, frame, says):
    fake = make()
    with pytest.raises(FrameError, match=says):
        fake.infer(frame, Budget.within(8))
    assert fake.engines.ran == []
    assert fake.infer(FRAME, Budget.within(8)).exit == 4


def test_without_a_profile_a_time_limit_is_refused(make):
    fake = make(policy=Untimed)
    for budget in (Budget.within(8), Budget.until(8), Budget.within(0)):
        with pytest.raises(BudgetError, match=r"offramp profile BUNDLE --out profile\.json"):
            fake.infer(FRAME, budget)
    assert fake.engines.ran == []
    assert fake.infer(FRAME).exit == 4 and fake.infer(FRAME, Budget.unbounded()).exit == 4
    assert len(fake.infer(FRAME, Budget.unknown()).trace) == 7


def test_frames_from_several_threads_wait_for_each_other(make, bundles):
    fake = make()
    busy, overlaps = threading.Lock(), []
    run = fake.engines.run

    def watched(unit):
        if not busy.acquire(blocking=False):
            overlaps.append(unit)
            return
        run(unit)
        busy.release()

    fake.engines.run = watched
    answers = []
    threads = [
        threading.Thread(target=lambda ms=ms: [answers.append((ms, fake.infer(FRAME, Budget.within(ms))))])
        for ms in (1e4, 1e5, 1e6) * 5
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [] and len(answers) == 15
    for ms, answer in answers:
        assert answer.exit == 4 and answer.budget_ms == pytest.approx(ms)
        assert [run.unit for run in answer.trace] == LAST


def test_waiting_for_another_frame_counts(make, monkeypatch):
    """The clock of a frame starts at the call: what it waits for the runtime is part of its time."""
    fake, answers = make(), {}
    inside, begun, go_on = threading.Event(), threading.Event(), threading.Event()

    def pause():
        inside.set()
        assert go_on.wait(30)

    def clock():
        now = fake.clock.now
        if threading.current_thread().name == "second":
            begun.set()
        return now

    monkeypatch.setattr("jetson.runtime.clock", clock)
    monkeypatch.setattr("jetson.walk.clock", clock)
    when(fake, "segment-1", pause)
    names = ("first", "second")
    first, second = (threading.Thread(target=lambda n=n: answers.update({n: fake.infer(FRAME)}), name=n) for n in names)
    first.start()
    assert inside.wait(30)
    fake.engines.after = lambda _name: None
    second.start()
    assert begun.wait(30)
    fake.clock.advance(500)
    go_on.set()
    first.join()
    second.join()
    assert answers["first"].elapsed_ms > 500 and answers["second"].elapsed_ms > 500
    assert answers["second"].trace[0].start_ms > 500


def test_closing_frees_the_engines(make):
    fake = make()
    fake.runtime.close()
    assert fake.engines.ran == ["close"]


class Stubborn(Untimed):
    """A policy that always wants to stop."""

    def decide(self, state):
        return STOP


def test_a_policy_that_stops_without_an_answer_gets_the_nearest_exit(make):
    fake = make(policy=Stubborn)
    assert fake.infer(FRAME).exit == 1 and fake.engines.ran == ["segment-1", "branch-2-mlp"]


class Restless(Untimed):
    """A policy that always wants to go on."""

    def decide(self, state):
        return -1 if state.stage < 3 else 3


def test_a_policy_that_goes_on_for_ever_ends_at_the_last_exit(make):
    class Endless(Restless):
        def decide(self, state):
            return -1 if state.answered >= 0 else super().decide(state)

    assert make(policy=Endless).infer(FRAME).exit == 4


EVENTS = st.one_of(
    st.just(("cut", None)),
    st.tuples(st.just("ms"), st.floats(0, 10)),
    st.tuples(st.just("until"), st.floats(-5, 10)),
    st.tuples(st.just("slow"), st.floats(0.1, 20)),
    st.tuples(st.just("fail"), st.none()),
)
STARTS = st.one_of(
    st.tuples(st.just("within"), st.floats(0, 10)),
    st.tuples(st.just("until"), st.floats(-5, 10)),
    st.just(("unknown", None)),
    st.just(("unbounded", None)),
)


@FUZZ
@given(start=STARTS, events=st.dictionaries(st.integers(0, 7), EVENTS, max_size=4), task=st.booleans())
def test_whatever_happens_on_the_way_an_answer_comes_from_a_branch_that_ran(make, start, events, task):
    """Or, where an engine failed before there was one, an error that names the unit; and lateness is told."""
    fake = make("classification" if task else "regression")
    kind, figure = start
    begun = fake.clock.now
    budget = (
        Budget.within(figure)
        if kind == "within"
        else Budget.until(begun + figure / 1e3)
        if kind == "until"
        else getattr(Budget, kind)()
    )

    def after(_name):
        what, value = events.get(len(fake.engines.ran), (None, None))
        if what == "cut":
            budget.cut()
        elif what == "ms":
            budget.revise(ms=value)
        elif what == "until":
            budget.revise(until=begun + value / 1e3)
        elif what == "slow":
            fake.engines.slow = value
        elif what == "fail":
            raise EngineError("unit x failed")

    fake.engines.after = after
    branches = {e.name: e.units[-1] for e in fake.runtime.bundle.manifest.exits}
    try:
        answer = fake.infer(FRAME, budget)
    except EngineError:
        assert "fail" in {what for what, _ in events.values()}
        good = {name for i, name in enumerate(fake.engines.ran, 1) if events.get(i, ("",))[0] != "fail"}
        assert not good & set(branches.values())
        return
    ran = [run.unit for run in answer.trace]
    assert branches[answer.exit_name] == [u for u in ran if u in branches.values()][-1]
    assert ran == sorted(ran, key=fake.engines.names.index) and len(set(ran)) == len(ran)
    deadline = budget.deadline(begun)
    assert answer.elapsed_ms == pytest.approx((fake.clock.now - begun) * 1e3)
    assert answer.met_deadline is (None if deadline == math.inf else fake.clock.now <= deadline)


def test_loading_refuses_what_cannot_be(bundles, tmp_path):
    bundle = bundles["classification"]
    for level in (0.0, 1.0, -1.0, 2.0, math.nan):
        with pytest.raises(BadInput, match="the latency quantile must lie between 0 and 1"):
            Runtime.load(bundle, fake_profile(bundle), level=level)
    with pytest.raises(BadInput, match="unknown engine 'tensorflow'; the engines are onnxruntime"):
        Runtime.load(bundle, engine="tensorflow")


def test_a_missing_engine_package_is_one_line(bundles, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match="onnxruntime is not installed: pip install"):
        Runtime.load(bundles["classification"])
