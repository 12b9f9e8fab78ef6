import numpy as np
import pytest

from calibration.outputs import collect_outputs
from jetson import Budget, Runtime
from jetson.engines import load_engines
from jetson.errors import FrameError
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import StaticExit
from tests.bundles import tiny_bundle

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 10, 12, 1), dtype=np.uint8)


def test_every_exits_output_is_what_the_runtime_answers(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    engines, done = load_engines(bundle), []
    found = collect_outputs(bundle.manifest, engines, FRAMES, lambda: done.append(1))
    assert found.shape == (6, 4, 3) and found.dtype == np.float32 and len(done) == 6
    paths = Paths.of(bundle.manifest)
    for exit_ in range(4):
        runtime = Runtime(bundle, engines, StaticExit(paths, exit_))
        for row, frame in zip(found, FRAMES, strict=True):
            assert (runtime.infer(frame, Budget.unbounded()).output == row[exit_]).all()


def test_no_frames_give_no_outputs(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle", task="regression", outputs=2)
    assert collect_outputs(bundle.manifest, load_engines(bundle), []).shape == (0, 4, 2)


def test_a_frame_that_does_not_fit_is_refused(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    with pytest.raises(FrameError):
        collect_outputs(bundle.manifest, load_engines(bundle), [np.zeros((4, 4, 3), np.uint8)])
