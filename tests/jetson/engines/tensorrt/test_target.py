"""What engines are built for."""

from types import SimpleNamespace

import pytest

from jetson.cuda import CudaDevice
from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.cache import Target
from jetson.engines.tensorrt.target import check_runs_here, rtx_target, rtx_targets, this_target
from jetson.errors import BadInput

MEMBERS = {"NONE": 0, "CURRENT": 1, "SM75": 75, "SM86": 86, "SM120": 120}
RTX = Api(SimpleNamespace(ComputeCapability=SimpleNamespace(__members__=MEMBERS)), "tensorrt_rtx", "1.7.1")
PLAIN = Api(SimpleNamespace(), "tensorrt", "10.3.0")


def test_targets_are_those_that_the_enum_has():
    assert rtx_targets(RTX) == {"sm75": (7, 5), "sm86": (8, 6), "sm120": (12, 0)}
    assert rtx_targets(PLAIN) == {}


def test_a_named_target():
    target = rtx_target("SM120", RTX)
    assert target == Target(kind="rtx", compute_capability=(12, 0)) and target.sm == "sm120"
    assert str(target) == "RTX GPUs, sm120"


@pytest.mark.parametrize("name", ["sm87", "sm110", "current", "none", "", "86", "sm86 "])
def test_an_unknown_target_is_refused_with_those_that_there_are(name):
    with pytest.raises(
        BadInput, match=r"does not build for .*; it knows sm75, sm86, sm120, and the engines of a Jetson"
    ):
        rtx_target(name, RTX)


def test_jetpacks_tensorrt_builds_for_no_named_target():
    with pytest.raises(BadInput, match=r"TensorRT 10.3.0 builds only for the device it runs on.*offramp\[rtx\]"):
        rtx_target("sm86", PLAIN)


def test_this_device(monkeypatch):
    device = SimpleNamespace(board="NVIDIA Jetson Orin Nano", jetpack="R36.4.3")
    monkeypatch.setattr("jetson.engines.tensorrt.target.this_device", lambda: device)
    cuda = SimpleNamespace(device=CudaDevice("Orin", (8, 7), 8 << 30, True, True, 12060))
    target = this_target(cuda)
    assert (target.kind, target.compute_capability, target.gpu) == ("device", (8, 7), "Orin")
    assert str(target) == "NVIDIA Jetson Orin Nano, Orin, sm87, R36.4.3"
    check_runs_here(target, PLAIN)
    with pytest.raises(BadInput, match=r"does not know this GPU .*sm87.*JetPack's own TensorRT is needed"):
        check_runs_here(target, RTX)


def test_the_installed_rtx_knows_the_gpus_it_should():
    trt = pytest.importorskip("tensorrt_rtx")
    assert {"sm86", "sm89", "sm120"} <= set(rtx_targets(Api(trt, "tensorrt_rtx", trt.__version__)))
