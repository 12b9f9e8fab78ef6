"""The benchmark of the runtime's own time: laps that leave nothing out, what the table says, and a real run."""

import msgspec
import numpy as np
import pytest

from benchmarks.cost import infer, watch
from benchmarks.cost.record import Recorded
from jetson.engines import onnxruntime as ort_engines
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import EveryExit
from tests.bundles import FakeEngines, VirtualClock, fake_profile, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("infer"))


def test_a_frames_laps_are_all_of_its_time(bundle, monkeypatch):
    clock, laps_clock = VirtualClock(), VirtualClock(0.0)
    for module in ("jetson.runtime", "jetson.walk"):
        monkeypatch.setattr(f"{module}.clock", clock)
    monkeypatch.setattr(watch, "perf_counter", laps_clock)
    engines = FakeEngines(bundle, clock, fake_profile(bundle))
    engines.after = lambda _name: laps_clock.advance(2.0)
    laps = watch.Laps()
    policy = EveryExit(Paths.of(bundle.manifest))
    decide = policy.decide

    def slow(state):
        laps_clock.advance(0.5)
        return decide(state)

    policy.decide = slow
    runtime = Runtime(bundle, watch.TimedEngines(engines, laps), watch.TimedPolicy(policy, laps))
    laps.start()
    runtime.infer(np.zeros((8, 8, 1), np.uint8), Budget.unbounded())
    laps.end("answer")
    units = len(bundle.manifest.units)
    assert laps.boundaries == units == len(engines.ran)
    assert laps.taken["engine"] == pytest.approx(units * 2e-3)
    assert laps.taken["decide"] == pytest.approx((units + 1) * 5e-4)
    assert sum(laps.taken.values()) == pytest.approx(laps_clock.now)
    laps.start()
    assert laps.boundaries == 0 and not any(laps.taken.values())


def test_the_table():
    stages = {stage: [10.0 * n, 1.0, 99.0] for n, stage in enumerate(watch.STAGES, start=1)}
    case = {"size": "tiny", "exits": 4, "budget": "known", "boundaries": 13.0, "stages_us": stages, "frames": 9}
    case |= {
        "boundary_us": [12.34, 10.0, 15.0],
        "frame_us": [300.0, 200.0, 400.0],
        "share": [0.005, 0.004, 0.006],
        "ratio": [1.01, 1.0, 1.02],
    }
    text = infer.table(Recorded("infer", {"threads": 1}, {"processor": "abacus", "cores": 2}, {"cases": [case]}))
    row = "| ViT-tiny | 4 | known | 13 | 12.3 (10.0 to 15.0) | 300 (200 to 400) | 0.50 (0.40 to 0.60) | 1.010 (1.000 to"
    assert row in text
    assert "| ViT-tiny | 4 | known | 10 | 20 | 30 | 50 | 60 | 70 | 80 | 90 |" in text and "units that" in text


def test_a_real_run(bundle):
    threads = ort_engines._process_threads or ort_engines.available_cores()
    cases = infer.measured(bundle.path, threads, 0.0, 10)
    assert [c["budget"] for c in cases] == ["known", "hidden"] and all(c["exits"] == 4 for c in cases)
    for case in cases:
        assert 2 <= case["boundaries"] <= len(bundle.manifest.units) and 0 < case["share"][0] < 1
        assert set(case["stages_us"]) == set(watch.STAGES) and case["ratio"][1] <= case["ratio"][0] <= case["ratio"][2]
    assert len(msgspec.json.encode(cases)) < 100_000
