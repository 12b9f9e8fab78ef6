"""Bundles in several precisions."""

import numpy as np
import onnx
import pytest

from jetson import Bundle
from jetson.errors import ParityError
from tests.toolkit.building import kept, settings, tree
from toolkit.build import build
from toolkit.export.half import to_half

pytestmark = pytest.mark.slow


def test_half_precision_stays_close_and_is_half_as_large(built):
    manifest = Bundle.open(built.bundle).manifest
    for exit_ in manifest.exits:
        assert exit_.max_difference < exit_.differences["fp16"] < manifest.parity.tolerances["fp16"] == 2e-2
    weights = [(v.size_bytes, u.parameters) for u in manifest.units for v in u.variants]
    assert all(2 * n < size < 2 * n + 60_000 for size, n in weights)


def test_only_the_precisions_that_were_asked_for_are_made(built, place, exporter):
    result = build(settings(built.checkpoint, place, precisions=("fp32",), parity_frames=3, quality_frames=10))
    assert exporter.asked == [] and result.bundle.manifest.precisions == ("fp32",)
    assert not list(place.rglob("*.fp16.onnx")) and not any(e.differences for e in result.bundle.manifest.exits)


@pytest.fixture
def poor_half(monkeypatch):
    """A converter whose weights are a tenth too large."""

    def spoilt(content, name):
        model = onnx.load_from_string(to_half(content, name))
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16:
                values = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array((values * 1.1).astype(np.float16), tensor.name))
        return model.SerializeToString()

    monkeypatch.setattr("toolkit.export.half.to_half", spoilt)


def test_a_precision_that_strays_is_left_out_and_said(built, tmp_path, exporter, poor_half):
    place = tmp_path / "place" / "bundle"
    result = build(settings(built.checkpoint, place, parity_frames=3, quality_frames=10))
    assert result.bundle.manifest.precisions == ("fp32",) and not list(place.rglob("*.fp16.onnx"))
    *_, remark, said_of_confidence, said_of_tensorrt = result.remarks  # of cuts before them
    assert said_of_tensorrt.endswith("takes every unit in fp32")
    assert said_of_confidence.startswith("10 frames to fit and to select on are too few")
    assert remark.startswith(
        "fp16 was left out: unit segment-1 does not compute what PyTorch computes: on parity image 0"
    )


@pytest.mark.parametrize("asked", [("fp32", "fp16"), ("int8-fp16",)])
def test_a_precision_that_was_asked_for_and_strays_is_an_error(built, place, exporter, poor_half, asked):
    (place / "manifest.json").write_bytes(b"{}offramp-bundle")  # damaged, so that nothing is taken over from it
    before = tree(place)
    with pytest.raises(ParityError, match=r"unit segment-1 .* differs in fp16 by .*; nothing was built"):
        build(settings(built.checkpoint, place, precisions=asked, parity_frames=3, quality_frames=10))
    kept(place, before)
