"""CUDA graphs are used where they give what the plain path gives, and nowhere else."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest

from tests.bundles import replace_unit, tiny_bundle
from tests.jetson.engines.tensorrt.loaded import PIXELS, compare


def wrong_replay(place):
    """The second unit's graph forgets its last piece of work."""
    place.cuda.damages = lambda work: work[:-1] if len(place.cuda.graphs) == 1 else work


@pytest.mark.parametrize("integrated", [True, False])
def test_a_graph_that_gives_something_else_is_not_used(bundle, make, integrated, caplog):
    with caplog.at_level(logging.WARNING, "offramp.jetson"):
        place = make(bundle, integrated, prepare=wrong_replay)
    (remark,) = place.engines.remarks
    assert remark.startswith("unit branch-2-mlp runs without a CUDA graph: its replay differs from the plain path by")
    assert [r.getMessage() for r in caplog.records] == [remark]
    assert [g.live for g in place.cuda.graphs] == [True, False, True, True, True, True, True]
    compare(place)
    assert place.cuda.graphs[1].launches == 1


@pytest.mark.parametrize(
    ("integrated", "left"), [(True, lambda work: []), (False, lambda work: work[:-1]), (False, lambda work: work[1:])]
)
def test_a_graph_that_leaves_work_out_is_found_where_the_output_never_changes(tmp_path, make, integrated, left):
    """What an earlier run has left in the output must not pass for the replay's."""
    bundle = tiny_bundle(tmp_path / "bundle")
    model = onnx.load(bundle.file(bundle.manifest.unit("branch-2-mlp")))
    (matrix,) = [t for t in model.graph.initializer if t.name == "matrix"]
    matrix.CopyFrom(onnx.numpy_helper.from_array(np.zeros((16, 3), np.float32), "matrix"))
    bundle = replace_unit(bundle, "branch-2-mlp", model.SerializeToString())

    def prepare(place):
        place.cuda.damages = lambda work: left(work) if len(place.cuda.graphs) == 1 else work

    place = make(bundle, integrated, prepare=prepare)
    (remark,) = place.engines.remarks
    assert remark.startswith("unit branch-2-mlp runs without a CUDA graph: its replay differs")
    compare(place)


def test_tensorrt_for_rtx_is_asked_whether_a_unit_can_be_recorded(bundle, make):
    place = make(bundle, rtx=True, prepare=lambda place: place.trt.not_capturable.add("head"))
    assert place.engines.remarks == ["unit head runs without a CUDA graph: TensorRT says that it cannot be recorded"]
    assert len(place.cuda.graphs) == 6
    compare(place)


def test_a_graph_that_forgets_to_copy_the_input_is_not_used(bundle, make):
    def prepare(place):
        place.cuda.damages = lambda work: work[1:] if not place.cuda.graphs else work

    place = make(bundle, prepare=prepare)
    assert "unit segment-1 runs without a CUDA graph: its replay differs" in place.engines.remarks[0]
    assert len(place.engines.remarks) == 1  # what lies behind was still held against the right tokens
    compare(place)


def test_a_graph_that_holds_on_to_the_input_of_its_recording_is_not_used(bundle, make):
    def prepare(place):
        def damage(work):
            if place.cuda.graphs:
                return work
            pixels = next(b for b in place.cuda.blocks if b.kind == "host").array[: PIXELS.nbytes]
            old, new = pixels.copy(), pixels.copy()

            def hold():
                new[...] = pixels
                pixels[...] = old

            def let_go():
                pixels[...] = new

            return [hold, *work, let_go]

        place.cuda.damages = damage

    place = make(bundle, integrated=True, prepare=prepare)
    (remark,) = place.engines.remarks
    assert remark.startswith("unit segment-1 runs without a CUDA graph: its replay differs")
    compare(place)


def test_a_graph_of_nothing_but_nan_is_not_taken_for_right(bundle, make):
    def prepare(place):
        def poison():
            place.cuda.view(place.trt.target, 4).view(np.float32)[...] = np.nan

        place.trt.target = 0

        def damage(work):
            if len(place.cuda.graphs) != 1:
                return work
            place.trt.target = next(b for b in place.cuda.blocks if b.kind == "host").address + 256
            return [*work, poison]

        place.cuda.damages = damage

    place = make(bundle, integrated=True, prepare=prepare)
    assert place.engines.remarks == [
        "unit branch-2-mlp runs without a CUDA graph: its replay differs from the plain path by nan, more than "
        + place.engines.remarks[0].rpartition(" ")[2]
    ]
    compare(place)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_last_bits_may_differ_and_no_more(bundle, make, share, monkeypatch):
    """Replay and plain path may differ as two runs of a kernel that adds in any order do."""

    def prepare(place):
        def nudge():
            bound = 1e-5 * np.abs(place.cuda.view(place.trt.target, 12).view(np.float32)).max()
            place.cuda.view(place.trt.target, 4).view(np.float32)[0] += share * bound

        def damage(work):
            if len(place.cuda.graphs) != 1:
                return work
            place.trt.target = next(b for b in place.cuda.blocks if b.kind == "host").address + 256
            return [*work, nudge]

        place.cuda.damages = damage

    assert bool(make(bundle, integrated=True, prepare=prepare).engines.remarks) == (share > 1)


def test_a_unit_that_cannot_be_recorded_runs_without(bundle, make, caplog):
    def prepare(place):
        place.cuda.fails_to_capture = lambda number: number in (0, 3)

    with caplog.at_level(logging.WARNING, "offramp.jetson"):
        place = make(bundle, prepare=prepare)
    assert place.engines.remarks == [
        f"unit {name} runs without a CUDA graph: recording failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
        for name in ("segment-1", "segment-2")
    ]
    assert [r.getMessage() for r in caplog.records] == place.engines.remarks
    compare(place)


def test_a_refusal_while_recording_is_told_with_tensorrts_words(bundle, make):
    def prepare(place):
        execute, seen = place.trt.cuda.capture, []

        def capture(enqueue):
            seen.append(1)
            if len(seen) == 2:
                place.trt.refuses.add("branch-2-mlp")
            try:
                return execute(enqueue)
            finally:
                place.trt.refuses.clear()

        place.cuda.capture = capture

    place = make(bundle, prepare=prepare)
    (remark,) = place.engines.remarks
    assert "recording failed: unit branch-2-mlp failed in TensorRT" in remark and "myelin graph failed" in remark
    compare(place)


def test_a_graph_that_cannot_be_launched_is_not_used(bundle, make):
    def prepare(place):
        place.cuda.fails_to_launch = True

    place = make(bundle, prepare=prepare)
    assert len(place.engines.remarks) == 7
    assert all("replaying failed: CUDA_ERROR_UNKNOWN: launch" in r for r in place.engines.remarks)
    compare(place)


def test_without_graphs_in_the_package_nothing_is_recorded(bundle, make, caplog):
    def prepare(place):
        place.cuda.has_graphs, place.cuda.name = False, "pycuda"

    with caplog.at_level(logging.WARNING, "offramp.jetson"):
        place = make(bundle, prepare=prepare)
    assert place.engines.remarks == ["no CUDA graphs: pycuda cannot record them, cuda.bindings can"]
    assert not caplog.records  # nothing that a user must mend at every start
    compare(place)
