"""What a build says of TensorRT before anything goes to a board."""

import onnx
import pytest
from onnx import helper

from jetson.errors import EngineError, MissingExtra
from tests.bundles import replace_unit, tiny_bundle, with_half
from toolkit.build import _preflight


def quiet(_title, _parts):
    return lambda: None


def test_units_that_tensorrt_takes(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    bundle = with_half(tiny_bundle(tmp_path / "bundle"))
    assert _preflight(bundle, quiet) == ("TensorRT's parser takes every unit in fp32 and fp16",)


def test_every_node_that_tensorrt_does_not_take_is_named(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    bundle = tiny_bundle(tmp_path / "bundle")
    model = onnx.load(bundle.file(bundle.manifest.unit("segment-2")))
    last = model.graph.node[-1]
    last.input[0], first = "determined", last.input[0]
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Det", [first], ["d"], name="odd one"))
    add = helper.make_node("Add", [first, "d"], ["determined"], name="fine")
    model.graph.node.insert(len(model.graph.node) - 1, add)
    (said,) = _preflight(replace_unit(bundle, "segment-2", model.SerializeToString()), quiet)
    assert said.startswith("TensorRT will not take unit segment-2 in fp32: ") and "odd one" in said and "Det" in said


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MissingExtra("no TensorRT"), "it is not installed here: pip install 'offramp[rtx]'"),
        (EngineError("libnvinfer is broken"), "was not asked: libnvinfer is broken"),
    ],
)
def test_without_a_tensorrt_the_build_says_so_and_stands(tmp_path, monkeypatch, error, says):
    def fail(_bundle, _precisions):
        raise error

    monkeypatch.setattr("jetson.engines.tensorrt.preflight.preflight", fail)
    (said,) = _preflight(tiny_bundle(tmp_path / "bundle"), quiet)
    assert says in said
