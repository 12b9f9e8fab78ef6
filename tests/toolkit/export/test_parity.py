"""The exported units against PyTorch, on real images."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from jetson import Bundle, Runtime
from jetson.engines import load_engines
from jetson.errors import ParityError
from jetson.preprocessing import Preprocessor
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import StaticExit
from tests.bundles import replace_unit
from toolkit import data
from toolkit.export.parity import CHUNK, TOLERANCES, check_parity
from toolkit.models.checkpoint import load_checkpoint
from toolkit.models.config import ARCHITECTURES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(built):
    return load_checkpoint(built.checkpoint).model


@pytest.fixture
def copy(built, tmp_path):
    """The bundle, to be spoilt."""
    return Bundle.open(shutil.copytree(built.bundle, tmp_path / "bundle"))


def images(n):
    return data.frames("digits").images[:n]


def test_chained_units_equal_pytorch_on_a_hundred_images_for_every_branch(built, model):
    bundle = Bundle.open(built.bundle)
    assert {e.architecture for e in bundle.manifest.exits} == {*ARCHITECTURES, "head"}
    frames = images(100)
    prepare = Preprocessor(bundle.manifest.preprocessing)
    with torch.inference_mode():
        answers = model(torch.from_numpy(np.stack([prepare(f) for f in frames])))
    engines, paths = load_engines(bundle), Paths.of(bundle.manifest)
    for place, (exit_, expected) in enumerate(zip(bundle.manifest.exits, answers, strict=True)):
        runtime = Runtime(bundle, engines, StaticExit(paths, place))
        found = np.stack([runtime.infer(frame).output for frame in frames])
        assert np.abs(found - expected.numpy()).max() < 1e-4, exit_.name


def test_the_manifest_tells_the_differences(built):
    manifest = Bundle.open(built.bundle).manifest
    assert manifest.parity.frames == 100 and manifest.parity.tolerance == TOLERANCES["fp32"] == 1e-4
    assert all(0 < e.max_difference < 1e-4 for e in manifest.exits)


def test_the_answers_are_large_enough_for_a_difference_to_show(model):
    with torch.inference_mode():
        answers = model(torch.randn(20, 1, 8, 8))
    assert all(a.std() > 0.1 for a in answers)


def test_units_are_opset_20_without_any_trace_of_this_machine(built):
    bundle = Bundle.open(built.bundle)
    assert len(bundle.manifest.units) == 11
    for unit in bundle.manifest.units:
        content = bundle.file(unit).read_bytes()
        for trace in (str(ROOT), str(Path.home()) + "/", "site-packages", "digits_model", "toolkit/", "stack_trace"):
            assert trace.encode() not in content, (unit.name, trace)
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
        assert model.graph.name == unit.name and not model.functions
        weights = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
        assert len(content) < 4 * weights + 20_000, unit.name


def nudge(bundle, name, by=0.05):
    """Change one weight of one exported file."""
    model = onnx.load(bundle.file(bundle.manifest.unit(name)))
    largest = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    values = numpy_helper.to_array(largest).copy()
    values.flat[values.size // 2] += by
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    return replace_unit(bundle, name, model.SerializeToString())


@pytest.mark.parametrize("name", ["segment-1", "segment-2", "segment-3", "branch-2-vit", "branch-1-mlp", "head"])
def test_a_unit_with_one_wrong_weight_is_named(copy, model, name):
    broken = nudge(copy, name, by=1.0)
    with pytest.raises(ParityError, match=rf"unit {name} does not compute what PyTorch computes: on parity image \d"):
        check_parity(model, broken, load_engines(broken), images(CHUNK + 3))


def test_a_unit_that_gives_nan_is_named(copy, model):
    broken = nudge(copy, "branch-2-vit", by=np.nan)
    with pytest.raises(ParityError, match=r"unit branch-2-vit .* differs in fp32 by nan"):
        check_parity(model, broken, load_engines(broken), images(2))


def test_whole_units_agree_and_every_image_is_told(copy, model):
    told = []
    worst = check_parity(model, copy, load_engines(copy), images(2 * CHUNK + 1), lambda: told.append(1))
    assert len(told) == 2 * CHUNK + 1 and len(worst) == 8 and max(worst) < TOLERANCES["fp32"]
