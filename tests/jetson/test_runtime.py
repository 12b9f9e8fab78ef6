"""The runtime on engines that take the time they are told to, on a clock that stands still in between."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson import Budget, Runtime
from jetson.errors import BadInput, BudgetError, EngineError, FrameError, MissingExtra
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import STOP, Untimed
from jetson.scheduling.replan import Replan
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle

FRAME = np.zeros((8, 8), np.uint8)
FUZZ = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    return {
        "classification": tiny_bundle(folder / "c"),
        "regression": tiny_bundle(folder / "r", task="regression", outputs=2),
    }


@pytest.fixture
def make(bundles, monkeypatch):
    """A function that makes a runtime; a segment takes 1 ms, a branch 0.25 ms, preparing a frame 0.1 ms."""

    def runtime(task="classification", policy=Replan, preprocess_ms=0.1, **options):
        bundle, clock = bundles[task], VirtualClock()
        profile = fake_profile(bundle, **options)
        engines = FakeEngines(bundle, clock, profile)
        monkeypatch.setattr("jetson.runtime.clock", clock)
        chosen = policy(bundle.manifest, profile) if policy is Replan else policy(Paths.of(bundle.manifest))
        made = Runtime(bundle, engines, chosen, timed=policy is Replan)
        prepare = made.preprocessor
        made.preprocessor = lambda frame, out: (prepare(frame, out), clock.advance(preprocess_ms))
        return SimpleNamespace(runtime=made, engines=engines, clock=clock, infer=made.infer)

    return runtime


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


def test_an_engine_that_fails_before_any_answer_is_an_error_that_names_the_unit(make):
    fake = make()
    fake.engines.fails = {"segment-2"}
    with pytest.raises(EngineError, match="unit segment-2 failed"):
        fake.infer(FRAME, Budget.within(100))
    fake.engines.fails = set()
    assert fake.infer(FRAME, Budget.within(100)).exit == 4


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
        assert [run.unit for run in answer.trace] == PATH[4]


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
    assert fake.infer(FRAME).exit == 1 and fake.engines.ran == PATH[1]


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
        assert not set(fake.engines.ran[:-1]) & set(branches.values())
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
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match="onnxruntime is not installed: pip install"):
        Runtime.load(bundles["classification"])
