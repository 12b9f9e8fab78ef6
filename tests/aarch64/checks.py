"""Run on the emulated machine beside the device-side tests; `make test` does not collect it, by its name."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jetson import Budget, Bundle, LatencyProfile, Runtime
from tests.aarch64.answers import BUNDLES, FRAMES, outputs

EXCHANGE = Path("/exchange")
# Both machines compute in float32, in another order of additions and with tanh and erf approximated otherwise. Values
# are up to 5; the largest difference seen is 2e-6.
TOLERANCE = 1e-5
TARGET = "sm86"


def offramp(*words):
    done = subprocess.run([sys.executable, "-m", "toolkit", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_processor_is_a_jetsons():
    assert platform.machine() == "aarch64" and sys.byteorder == "little"


def test_files_are_looked_up_on_the_emulated_machine(tmp_path):
    """Some system calls would go by the host's files; see `REFUSED` in tests/aarch64/emulation.py."""
    (tmp_path / "a").touch()
    assert os.access(tmp_path / "a", os.W_OK) and os.access("/src/tests/aarch64/checks.py", os.R_OK)
    assert subprocess.run(["stat", tmp_path / "a"], stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert subprocess.run(["mv", "-n", tmp_path / "a", tmp_path / "b"], check=False).returncode == 0
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize("name", BUNDLES)
def test_every_unit_answers_as_on_the_host(name):
    with np.load(EXCHANGE / f"{name}.npz") as host:
        expected = dict(host)
    found = outputs(Bundle.open(EXCHANGE / name), np.load(EXCHANGE / FRAMES))
    assert found.keys() == expected.keys()
    for unit, values in expected.items():
        np.testing.assert_allclose(found[unit], values, rtol=TOLERANCE, atol=TOLERANCE, err_msg=unit)


@pytest.mark.parametrize("name", BUNDLES)
def test_the_runtime_gives_the_answer_of_the_last_exit(name):
    bundle = Bundle.open(EXCHANGE / name)
    last = bundle.manifest.exits[-1]
    with np.load(EXCHANGE / f"{name}.npz") as host:
        expected = host[last.units[-1]]
    runtime = Runtime.load(bundle)
    for frame, values in zip(np.load(EXCHANGE / FRAMES), expected, strict=True):
        answer = runtime.infer(frame, Budget.unbounded())
        assert answer.exit_name == last.name
        np.testing.assert_allclose(answer.output, values, rtol=TOLERANCE, atol=TOLERANCE)


def test_tensorrt_parses_and_builds_a_transformer_layer():
    """Straight through NVIDIA's parser and builder, so that a failure of theirs is told from one of ours."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    bundle = Bundle.open(EXCHANGE / "transformer")
    assert parser.parse_from_file(str(bundle.file(bundle.manifest.unit("segment-2")))), parser.get_error(0).desc()
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    assert len(memoryview(builder.build_serialized_network(network, config))) > 1000


@pytest.mark.parametrize("name", BUNDLES)
def test_engines_are_built_and_then_found(name, tmp_path):
    words = ("engines", str(EXCHANGE / name), "--target", TARGET, "--precision", "fp32", "--json")
    first, second = (json.loads(offramp(*words, "--cache", str(tmp_path / "cache"))) for _ in range(2))
    units = [unit.name for unit in Bundle.open(EXCHANGE / name).manifest.units]
    for said, cached in ((first, False), (second, True)):
        assert [engine["unit"] for engine in said["engines"]] == units
        assert {engine["error"] for engine in said["engines"]} == {None}
        assert {engine["cached"] for engine in said["engines"]} == {cached}
    assert all(Path(engine["path"]).stat().st_size == engine["size_bytes"] > 1000 for engine in first["engines"])


def test_a_bundle_is_profiled_and_run(tmp_path):
    bundle, profile, frames = str(EXCHANGE / "tiny"), str(tmp_path / "profile.json"), str(EXCHANGE / FRAMES)
    offramp("profile", bundle, "--rounds", "5", "--warm-up", "1", "--out", profile)
    offramp("run", bundle, "--profile", profile, "--data", frames, "--budget-ms", "10000")
    assert LatencyProfile.load(Path(profile)).device.machine == "aarch64"


def test_the_doctor_finds_what_there_is():
    said = json.loads(offramp("doctor", "--json"))
    assert said["ready"] == {"onnxruntime": True, "tensorrt": False, "build_rtx": True}
