import math

import numpy as np
import pytest

from jetson import Runtime, replay
from jetson.profiling.measure import measure
from jetson.scheduling.replan import Replan
from jetson.scheduling.trace import FrameBudget, swing
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)


def record(**changes):
    plain = {
        "correct": None,
        "error_abs": None,
        "met_deadline": True,
        "feasible": True,
        "elapsed_ms": 2.0,
        "units": [{"host_ms": 1.0}, {"host_ms": 0.5}],
        "branches": 1,
        "exit_name": "2:mlp",
    }
    return plain | changes


def test_a_summary_of_a_classification():
    found = replay.summarise(
        [
            record(correct=True, elapsed_ms=1.0),
            record(correct=True, met_deadline=False, elapsed_ms=5.0, exit_name="6:head"),
            record(correct=False, branches=2, units=[{"host_ms": 4.0}]),
            record(correct=True, met_deadline=False, feasible=False, elapsed_ms=3.0),
            record(correct=True, met_deadline=None, feasible=None, units=[]),
        ]
    )
    assert found["frames"] == 5
    assert found["acc_at_d"] == 2 / 5  # the first and the one without a limit
    assert found["accuracy"] == 4 / 5
    assert found["miss_rate"] == 1 / 3  # of three budgets that can be met, one was missed
    assert found["infeasible_share"] == 1 / 4  # of four that are known
    assert found["late"] == 2
    assert found["mean_compute_ms"] == pytest.approx((1.5 + 1.5 + 4.0 + 1.5 + 0.0) / 5)
    assert found["branches_per_frame"] == 6 / 5
    assert found["p50_ms"] == 2.0 and found["p99_ms"] == pytest.approx(np.quantile([1, 5, 2, 3, 2], 0.99))
    assert found["exits"] == {"2:mlp": 4, "6:head": 1}
    assert found["mean_absolute_error"] is None


def test_a_summary_of_a_regression():
    found = replay.summarise([record(error_abs=1.0), record(error_abs=2.5, met_deadline=False)])
    assert found["mean_absolute_error"] == 1.75 and found["acc_at_d"] is found["accuracy"] is None
    assert found["miss_rate"] == 0.5


def test_what_cannot_be_said_is_none():
    found = replay.summarise([record(met_deadline=None, feasible=None)])
    assert found["acc_at_d"] is found["accuracy"] is found["mean_absolute_error"] is None
    assert found["miss_rate"] is found["infeasible_share"] is None and found["late"] == 0
    only_infeasible = replay.summarise([record(met_deadline=False, feasible=False)])
    assert only_infeasible["miss_rate"] is None and only_infeasible["infeasible_share"] == 1.0


def test_a_summary_of_nothing():
    found = replay.summarise([])
    counts = ("frames", "late", "dropped", "unreadable")
    assert [found[key] for key in counts] == [0] * 4 and found["exits"] == {}
    assert all(value is None for key, value in found.items() if key not in (*counts, "exits"))


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function that replays on engines of 1 ms a segment and 0.25 ms a branch, on a virtual clock."""
    clock, slept = VirtualClock(), []

    def sleep(seconds):
        slept.append(seconds)
        clock.advance(seconds * 1e3)

    monkeypatch.setattr("jetson.runtime.clock", clock)
    monkeypatch.setattr("jetson.walk.clock", clock)
    monkeypatch.setattr(replay, "clock", clock)
    monkeypatch.setattr(replay.time, "sleep", sleep)

    def start(trace, task="classification", **options):
        bundle = tiny_bundle(tmp_path / task, task=task, outputs=3)
        profile = fake_profile(bundle, preprocess_ms=0.0)
        runtime = Runtime(bundle, FakeEngines(bundle, clock, profile), Replan(bundle.manifest, profile))
        return list(replay.replay(runtime, FRAMES, trace, profile, **options))

    start.clock, start.slept = clock, slept
    return start


def test_a_line_of_the_trace_is_a_frame(fake):
    records = fake([FrameBudget(0.0, ms) for ms in (0.5, 1.3, 2.3, 3.3, math.inf)] * 2, pace=False)
    assert [r["frame"] for r in records] == list(range(10))
    assert [r["exit_name"] for r in records[:5]] == ["2:cnn-add", "2:cnn-add", "4:vit", "6:head", "6:head"]
    assert [r["feasible"] for r in records[:5]] == [False, True, True, True, None]
    assert [r["met_deadline"] for r in records[:5]] == [False, True, True, True, None]
    assert [r["branches"] for r in records] == [1] * 10
    assert [r["target"] for r in records] == [r["correct"] for r in records] == [None] * 10
    assert fake.slept == []


def test_frames_wait_for_their_moment(fake):
    records = fake([FrameBudget(t, 100.0) for t in (0.0, 10.0, 11.0, 30.0)])
    # A path of 3.25 ms: the third frame comes while the second is being answered and is not waited for.
    assert [r["t_ms"] for r in records] == pytest.approx([0.0, 10.0, 13.25, 30.0])
    assert fake.slept == pytest.approx([0.00675, 0.0135])


def test_answers_are_judged_by_the_targets_in_turn(fake):
    # The fake engines' last exit always answers class 0.
    records = fake([FrameBudget(0.0, math.inf)] * 7, targets=np.array([0, 1, 0, 2, 1]))
    assert [r["target"] for r in records] == [0, 1, 0, 2, 1, 0, 1]
    assert [r["correct"] for r in records] == [True, False, True, False, False, True, False]
    assert all(type(r["target"]) is int and type(r["correct"]) is bool for r in records)


def test_values_are_judged_by_their_error(fake):
    # ... and in regression the values (5, 0, 0).
    targets = np.array([[5, 0, 0], [4, 1, 1]] * 3, np.float32)[:5]
    records = fake([FrameBudget(0.0, math.inf)] * 2, task="regression", targets=targets)
    assert [r["error_abs"] for r in records] == [0.0, 1.0] and records[1]["target"] == [4.0, 1.0, 1.0]
    assert [r["correct"] for r in records] == [None, None]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Real engines and a real profile, of units that take long enough to be told apart."""
    bundle = tiny_bundle(tmp_path_factory.mktemp("real") / "bundle", size=(64, 64), width=256)
    return bundle, measure(bundle, rounds=40, warm_up=5, seconds=20)


def test_under_a_swinging_budget_every_frame_is_answered_and_every_late_one_is_told(real):
    """Between half the shallowest and twice the deepest exit's time, as the issue asks."""
    bundle, profile = real
    medians = [e.end_to_end_ms.median for e in profile.exits]
    trace = swing(min(medians) / 2, 2 * max(medians), 400, periods=5)
    frames = np.random.default_rng(1).integers(0, 256, (16, 64, 64, 1), dtype=np.uint8)
    records = list(replay.replay(Runtime.load(bundle, profile), frames, trace, profile, pace=False))
    branches = {e.units[-1]: e.name for e in bundle.manifest.exits}
    assert len(records) == 400
    for line, found in zip(trace, records, strict=True):
        ran = [branches[u["unit"]] for u in found["units"] if u["unit"] in branches]
        assert found["branches"] == len(ran) >= 1 and found["exit_name"] == ran[-1]
        assert found["budget_ms"] == pytest.approx(line.budget_ms, abs=1e-6)
        assert found["met_deadline"] is (found["elapsed_ms"] <= found["budget_ms"])
        path = next(e.units for e in bundle.manifest.exits if e.name == found["exit_name"])
        assert set(path) <= {u["unit"] for u in found["units"]}
        assert found["elapsed_ms"] >= sum(u["host_ms"] for u in found["units"])
        assert "error" not in found
    summary = replay.summarise(records)
    assert summary["late"] == sum(r["elapsed_ms"] > r["budget_ms"] for r in records)
    assert records[0]["feasible"] is False and sum(summary["exits"].values()) == 400


def test_budgets_revised_on_the_way_by_another_thread(real):
    bundle, profile = real
    runtime = Runtime.load(bundle, profile)
    frames = np.zeros((1, 64, 64, 1), np.uint8)
    trace = [FrameBudget(0.0, 0.001, 0.0, 1e5), FrameBudget(0.0, 1e5, 0.0, 0.001)] * 50
    records = list(replay.replay(runtime, frames, trace, profile, pace=False))
    assert {round(r["budget_ms"], 6) for r in records} <= {0.001, 1e5}
    for found in records:
        assert found["met_deadline"] is (found["elapsed_ms"] <= found["budget_ms"])
    # A moment that lies beyond the answer never comes.
    (late,) = replay.replay(runtime, frames, [FrameBudget(0.0, 1e5, 1e9, 0.001)], profile, pace=False)
    assert late["budget_ms"] == pytest.approx(1e5) and late["met_deadline"] is True
