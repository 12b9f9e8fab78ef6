import itertools
import math

import numpy as np
import pytest

from jetson import Budget, LatencyProfile, Runtime
from jetson.engines import onnxruntime as ort_engines
from jetson.errors import BadInput, BundleError
from jetson.profiling import measure as module
from jetson.profiling.measure import MIN_ROUNDS, measure
from jetson.profiling.profile import LEVELS
from tests.bundles import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("m") / "bundle")


@pytest.fixture(scope="module")
def profile(bundle):
    return measure(bundle, rounds=30, warm_up=2, seconds=60)


def test_every_unit_and_exit_is_counted(bundle, profile):
    """A round is one frame through all branches and one straight to each of the four exits."""
    runs = {name: unit.host_ms.n for name, unit in profile.units.items()}
    assert runs == {
        "segment-1": 30 * 5,
        "segment-2": 30 * 3,
        "segment-3": 30 * 2,
        **dict.fromkeys(("branch-2-mlp", "branch-2-cnn-add", "branch-4-vit", "head"), 60),
    }
    assert all(u.end_to_end_ms.n == u.host_ms.n for u in profile.units.values())
    assert [(e.name, e.end_to_end_ms.n) for e in profile.exits] == [(e.name, 30) for e in bundle.manifest.exits]
    assert profile.frames == profile.preprocess_ms.n == 150


def test_the_three_times_are_kept_apart(profile):
    for unit in profile.units.values():
        assert 0 < unit.host_ms.median <= unit.end_to_end_ms.median and unit.gpu_ms is None
        assert len(unit.host_ms.quantiles) == len(LEVELS)
    deepest = profile.exits[-1].end_to_end_ms
    path = ("segment-1", "segment-2", "segment-3", "head")
    assert deepest.quantile(1.0) > sum(profile.units[n].host_ms.quantile(0.0) for n in path)


def test_a_measured_profile_is_taken_by_the_runtime(bundle, profile, tmp_path):
    profile.save(tmp_path / "profile.json")
    runtime = Runtime.load(bundle.path, tmp_path / "profile.json")
    assert runtime.infer(np.zeros((8, 8), np.uint8), Budget.within(1e4)).exit == 4
    assert LatencyProfile.load(tmp_path / "profile.json") == profile
    assert profile.bundle == bundle.manifest.identity and profile.engine.threads == ort_engines._process_threads
    assert profile.frame == (8, 8)


def test_the_paths_of_a_round_are_interleaved(bundle, monkeypatch):
    """In every round all paths, in an order that changes from round to round."""
    chosen = []
    infer = Runtime.infer

    def watch(self, frame, budget=None):
        chosen.append(self.policy.name)
        return infer(self, frame, budget)

    monkeypatch.setattr(module.Runtime, "infer", watch)
    measure(bundle, rounds=20, warm_up=1, seconds=60)
    paths = {"every-exit", "static-1", "static-2", "static-3", "static-4"}
    rounds = [chosen[i : i + 5] for i in range(0, len(chosen), 5)]
    assert len(rounds) == 21 and all(set(r) == paths for r in rounds)
    assert len({tuple(r) for r in rounds}) > 10


def test_time_that_is_over_ends_it_but_not_before_twenty_rounds(bundle):
    assert measure(bundle, rounds=1000, warm_up=0, seconds=0).exits[0].end_to_end_ms.n == MIN_ROUNDS
    assert measure(bundle, rounds=3, warm_up=0, seconds=0).exits[0].end_to_end_ms.n == 3
    assert measure(bundle, rounds=1, warm_up=0, seconds=math.inf).exits[0].end_to_end_ms.n == 1


def test_progress_goes_from_nothing_to_all(bundle):
    shares = []
    measure(bundle, rounds=25, warm_up=3, seconds=60, progress=shares.append)
    assert shares[0] == 0.0 and shares[-1] == 1.0 and len(shares) == 28
    assert all(a <= b for a, b in itertools.pairwise(shares))


def test_camera_frames_of_another_size_are_measured(bundle):
    profile = measure(bundle, rounds=2, warm_up=0, frame=(120, 160))
    assert profile.frame == (120, 160)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"rounds": -1},
        {"warm_up": -1},
        {"seconds": -1.0},
        {"seconds": math.nan},
        {"frame": (0, 8)},
        {"frame": (8, 16385)},
        {"threads": 0},
        {"engine": "tensorflow"},
    ],
)
def test_figures_that_cannot_be_are_refused(bundle, wrong):
    with pytest.raises(BadInput) as caught:
        measure(bundle, **wrong)
    assert "\n" not in str(caught.value)


def test_a_damaged_bundle_is_not_measured(tmp_path):
    bundle = tiny_bundle(tmp_path / "b")
    (bundle.path / "units" / "head.onnx").unlink()
    with pytest.raises(BundleError, match="the file of unit head is missing"):
        measure(bundle.path)
