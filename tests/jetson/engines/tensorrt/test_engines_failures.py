"""What comes of a unit, or of the device, that fails while units run."""

from __future__ import annotations

import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.errors import EngineError, PathError
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import Untimed
from tests.jetson.engines.tensorrt.loaded import PIXELS, compare, index


@pytest.mark.parametrize("how", ["refuses", "raises"])
@pytest.mark.parametrize("place_of_failure", range(4))
def test_a_unit_that_tensorrt_refuses_ends_the_path_there(bundle, make, place_of_failure, how):
    place = make(bundle, graphs=False)
    units = [index(bundle, n) for n in ("segment-1", "segment-2", "segment-3", "head")]
    bad = bundle.manifest.units[units[place_of_failure]].name
    place.reference.input[...] = place.engines.input[...] = PIXELS
    place.reference.run_path(units)
    getattr(place.trt, how).add(bad)
    with pytest.raises(PathError, match=f"unit {bad} failed in TensorRT: .*enqueueV3") as caught:
        place.engines.run_path(units)
    assert caught.value.finished == place_of_failure and "\n" not in str(caught.value)
    assert not place.cuda.pending  # those before it have truly run
    assert place.trt.executed == ["segment-1", "segment-2", "segment-3", "head"][:place_of_failure]
    with pytest.raises(EngineError, match=f"unit {bad} failed in TensorRT") as caught:
        place.engines.run(units[place_of_failure])
    assert not isinstance(caught.value, PathError)
    getattr(place.trt, how).clear()
    compare(place)


def test_an_answer_before_the_failure_stands(bundle, make):
    place = make(bundle, graphs=False)
    units = [index(bundle, n) for n in ("segment-1", "branch-2-mlp", "segment-2")]
    place.reference.input[...] = place.engines.input[...] = PIXELS
    place.reference.run_path(units)
    place.trt.refuses.add("segment-2")
    with pytest.raises(PathError) as caught:
        place.engines.run_path(units)
    assert caught.value.finished == 2
    assert place.engines.output(units[1]).tobytes() == place.reference.output(units[1]).tobytes()


def test_a_reason_is_of_this_failure_alone(bundle, make):
    place = make(bundle, graphs=False)
    place.trt.refuses.add("segment-1")
    with pytest.raises(EngineError):
        place.engines.run(0)
    place.trt.refuses, place.trt.raises = set(), {"segment-2"}
    with pytest.raises(EngineError, match="segment-2") as caught:
        place.engines.run(index(bundle, "segment-2"))
    assert "segment-1" not in str(caught.value)


def test_a_launch_that_cuda_refuses_names_the_unit_and_can_be_tried_again(bundle, make):
    place = make(bundle)
    place.cuda.fails_to_launch = True
    with pytest.raises(PathError, match="unit segment-1 failed on the GPU: CUDA_ERROR_UNKNOWN: launch") as caught:
        place.engines.run_path([0, 1])
    assert caught.value.finished == 0
    place.cuda.fails_to_launch = False
    compare(place)


@pytest.mark.parametrize("graphs", [True, False])
def test_a_device_that_is_lost_is_said_and_stays_lost(bundle, make, graphs):
    place = make(bundle, graphs=graphs)
    compare(place)
    place.trt.crashes.add("segment-2")
    units = [index(bundle, n) for n in ("segment-1", "segment-2", "branch-4-vit")]
    with pytest.raises(PathError) as caught:
        place.engines.run_path(units)
    assert caught.value.finished == 0
    assert str(caught.value) == (
        "one of the units segment-1, segment-2, branch-4-vit failed on the GPU: CUDA_ERROR_ILLEGAL_ADDRESS; "
        "the GPU is lost to this process, start it again"
    )
    place.trt.crashes.clear()
    for again in (lambda: place.engines.run(0), lambda: place.engines.output(0), lambda: place.engines.run_path([0])):
        with pytest.raises(EngineError, match="the GPU is lost to this process, start it again"):
            again()
    place.engines.close()


def test_a_single_unit_that_loses_the_device_is_named(bundle, make):
    place = make(bundle)
    place.trt.crashes.add("segment-1")
    with pytest.raises(EngineError, match=r"^unit segment-1 failed on the GPU: CUDA_ERROR_ILLEGAL_ADDRESS; the"):
        place.engines.run(0)


def test_a_runtime_keeps_the_best_answer_when_the_device_is_lost(bundle, make):
    place = make(bundle)
    runtime = Runtime(bundle, place.engines, Untimed(Paths.of(bundle.manifest)), timed=False)
    frame = np.full((8, 8), 77, np.uint8)
    place.trt.crashes.add("segment-3")
    answer = runtime.infer(frame, Budget.unknown())
    assert answer.exit == 3 and "unit segment-3 failed on the GPU" in answer.error
    with pytest.raises(EngineError, match="start it again"):
        runtime.infer(frame)


def test_nan_out_of_an_engine_is_an_error_of_the_unit(bundle, make):
    def prepare(place):
        place.trt.nan.add("head")

    place = make(bundle, prepare=prepare)
    assert not place.engines.remarks  # the same NaN on both ways
    runtime = Runtime(bundle, place.engines, Untimed(Paths.of(bundle.manifest)), timed=False)
    with pytest.raises(EngineError, match="unit head gave NaN"):
        runtime.infer(np.zeros((8, 8), np.uint8))


def test_an_interrupt_leaves_nothing_pending(bundle, make):
    place = make(bundle, graphs=False)
    layout = place.engines._layout
    copy_out = layout.copy_out

    def interrupted(unit):
        raise KeyboardInterrupt

    layout.copy_out = interrupted
    with pytest.raises(KeyboardInterrupt):
        place.engines.run_path([0, 1])
    assert not place.cuda.pending
    layout.copy_out = copy_out
    compare(place)
