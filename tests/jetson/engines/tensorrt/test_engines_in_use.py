"""From the command line to an answer with TensorRT's engines, on a fake device."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jetson import Budget, LatencyProfile, Runtime
from jetson.engines import load_engines
from jetson.engines.tensorrt import engines as module
from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.target import this_target
from jetson.errors import EngineError, ProfileError
from tests.bundles import tiny_bundle, with_half
from tests.jetson.engines.tensorrt.fake_cuda import FakeCuda
from tests.jetson.engines.tensorrt.fake_tensorrt import FakeTensorRT
from tests.jetson.engines.tensorrt.loaded import VERSION, fill
from toolkit.cli import main

FRAME = np.random.default_rng(3).integers(0, 256, (8, 8), dtype=np.uint8)


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A Jetson with engines of a bundle in half precision in its cache."""
    monkeypatch.chdir(tmp_path)
    bundle = with_half(tiny_bundle(tmp_path / "bundle"))
    load_engines(bundle).close()  # the fakes compute with ONNX Runtime, in the pool that this sets up
    cuda = FakeCuda(integrated=True)
    trt = FakeTensorRT(cuda)
    monkeypatch.setattr(module, "load_cuda", lambda: cuda)
    monkeypatch.setattr(module, "load_api", lambda: Api(trt, "tensorrt", VERSION))
    monkeypatch.setattr(cuda, "close", lambda: None)  # the device outlives each load
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "cache"))
    fill(tmp_path / "cache", bundle, this_target(cuda), precision="fp16")
    np.save(tmp_path / "frames.npy", FRAME[None, :, :, None].repeat(3, axis=0))
    return bundle, cuda


def profile(*words):
    return main(["profile", "bundle", "--engine", "tensorrt", "--rounds", "20", "--seconds", "0", *words])


def test_profile_run_and_infer_with_the_engines_of_the_profile(board, capsys):
    bundle, cuda = board
    assert profile() == 0
    said = capsys.readouterr().out
    assert "gpu p50" in said and "fp16" in said and "MiB if nothing were shared" in said
    found = LatencyProfile.load("profile.json")
    assert found.engine.name == "tensorrt" and found.engine.version == f"tensorrt {VERSION}"
    assert {u.precision for u in found.units.values()} == {"fp16"} and found.memory.total < found.memory.unshared
    assert all(u.gpu_ms.n > u.host_ms.n == 20 for u in found.units.values() if u.gpu_ms.n != 20)

    assert (
        main(["run", "bundle", "--profile", "profile.json", "--data", "frames.npy", "--budget-ms", "1e6", "--json"])
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4 and all(u["gpu_ms"] is not None for line in lines[:3] for u in line["units"])

    runtime = Runtime.load(bundle, "profile.json")
    waits = cuda.waits
    answer = runtime.infer(FRAME, Budget.within(1e6))
    assert answer.exit == 4 and cuda.waits == waits + 1, "one path, one wait"
    half = Runtime.load(bundle, precision="fp16").infer(FRAME)
    assert np.array_equal(answer.output, half.output) and half.trace[0].gpu_ms is None
    stepwise = Runtime.load(bundle, "profile.json", ahead=False)
    waits = cuda.waits
    assert np.array_equal(stepwise.infer(FRAME, Budget.within(1e6)).output, half.output)
    assert cuda.waits == waits + 4


def test_a_profile_in_another_precision_or_of_the_processor_is_refused(board):
    bundle, _ = board
    assert profile() == 0
    with pytest.raises(EngineError, match=r"segment-1.*fp32.*offramp engines .*bundle.* --precision fp32"):
        Runtime.load(bundle, "profile.json", precision="fp32")
    with pytest.raises(ProfileError, match=r"another engine \(name: 'tensorrt' there, 'onnxruntime' here\)"):
        Runtime.load(bundle, "profile.json", engine="onnxruntime")


def test_without_its_engines_the_command_that_builds_them_is_named(board, capsys):
    bundle, _ = board
    for file in (bundle.path.parent / "cache").glob("*.json"):
        file.unlink()
    assert profile() == 1
    said = capsys.readouterr().err
    assert said.count("\n") <= 3 and "offramp engines bundle --precision fp16" in said
