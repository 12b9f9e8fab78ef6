"""The line for NVIDIA's own tool."""

import shlex

import msgspec
import pytest

from jetson.engines.tensorrt.trtexec import trtexec_line
from jetson.errors import BundleError
from tests.bundles import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("trtexec") / "it's möglich $HOME")


def test_the_line_is_one_that_a_shell_takes_apart_again(bundle):
    unit = bundle.manifest.unit("branch-2-cnn-add")
    words = shlex.split(trtexec_line(bundle, unit, "fp32"))
    assert words[0] == "trtexec" and f"--onnx={bundle.file(unit)}" in words
    assert {"--stronglyTyped", "--skipInference", "--saveEngine=branch-2-cnn-add.engine"} <= set(words)
    assert "--memPoolSize=workspace:1024" in words and "--builderOptimizationLevel=3" in words
    assert not [w for w in words if "Shapes" in w]


@pytest.mark.parametrize("max_batch", [1, 8])
def test_a_free_batch_is_given_its_shapes(bundle, max_batch):
    unit = msgspec.structs.replace(bundle.manifest.units[0], dynamic_batch=True)
    shapes = [w for w in shlex.split(trtexec_line(bundle, unit, "fp32", max_batch)) if "Shapes" in w]
    assert shapes == [
        "--minShapes=pixels:1x1x8x8",
        f"--optShapes=pixels:{max_batch}x1x8x8",
        f"--maxShapes=pixels:{max_batch}x1x8x8",
    ]


def test_another_precision_is_another_file(bundle):
    unit = bundle.manifest.units[0]
    half = msgspec.structs.replace(unit.files[0], precision="fp16", file="units/segment-1.fp16.onnx")
    line = trtexec_line(bundle, msgspec.structs.replace(unit, variants=(half,)), "fp16")
    assert "units/segment-1.fp16.onnx" in line and "--saveEngine=segment-1.fp16.engine" in line
    with pytest.raises(BundleError, match="segment-1 is in the bundle in fp32 only"):
        trtexec_line(bundle, unit, "fp16")
