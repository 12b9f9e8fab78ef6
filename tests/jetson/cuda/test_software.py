"""What only a driver that can be looked into, and told to fail, shows of both implementations."""

from __future__ import annotations

import ctypes.util

import pytest

from tests.jetson.cuda.conftest import Run


def clean(left: dict[str, int]) -> bool:
    return not any(n for kind, n in left.items() if kind != "releases")


@pytest.mark.parametrize(
    "scenario", ["stale", "held", "graph_temporaries", "no_context", "not_closed", "closed_elsewhere", "forked"]
)
def test_scenario(run: Run, package: str, scenario: str) -> None:
    if (package, scenario) == ("pycuda", "forked"):
        pytest.skip("PyCUDA's own objects call into CUDA when a forked child ends")
    result = run(scenario)
    assert (result.code, result.errors) == (0, ""), result.errors
    assert result.left["releases"] == 1
    if scenario == "closed_elsewhere":
        result.left["depth"] = 0  # only the thread that closes can take the context away from itself
    assert clean(result.left), result.left


def test_every_call_is_checked(run: Run) -> None:
    result = run("each_call_fails")
    assert result.code == 0, result.errors
    assert clean(result.left), result.left


def test_giving_back_never_raises(run: Run) -> None:
    result = run("giving_back_fails")
    assert result.code == 0, result.errors
    for call in ("cuMemFree", "cuMemFreeHost", "cuEventDestroy", "cuGraphDestroy", "cuGraphExecDestroy"):
        assert call in result.errors
    assert "cuStreamDestroy" in result.errors
    assert result.left["retained"] == 0


def test_fault_on_the_device_stays_an_error(run: Run) -> None:
    result = run("sticky")
    assert result.code == 0, result.errors
    assert "Traceback" not in result.errors
    assert result.left["retained"] == 0


def test_memory_that_cannot_be_mapped(run: Run) -> None:
    result = run("unmapped", SOFT_CUDA_CANNOT_MAP=1)
    assert (result.code, result.errors) == (0, ""), result.errors
    assert clean(result.left), result.left


@pytest.mark.parametrize("scenario", ["pop_fails", "another_context"])
def test_pycuda_stack(run: Run, package: str, scenario: str) -> None:
    if package != "pycuda":
        pytest.skip("only PyCUDA keeps a stack of contexts of its own")
    result = run(scenario, SOFT_CUDA_DEVICES=2)
    assert (result.code, result.errors) == (0, ""), result.errors
    assert result.left["retained"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SOFT_CUDA_DEVICES": 0}, "cuInit: CUDA_ERROR_NO_DEVICE (CUDA finds no GPU; is CUDA_VISIBLE_DEVICES right"),
        ({"SOFT_CUDA_FAIL": "cuInit:1:803"}, "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (libcuda and the kernel"),
        ({"SOFT_CUDA_FAIL": "cuInit:1:34"}, "cuInit: CUDA_ERROR_STUB_LIBRARY (that libcuda.so.1 is the toolkit's stub"),
        ({"SOFT_CUDA_VERSION": 11040}, "the driver is for CUDA 11.4, "),
        ({"DEVICE": 1}, "there is no GPU 1: CUDA sees 1, and counts from 0"),
        ({"DEVICE": -1}, "there is no GPU -1"),
        ({"SOFT_CUDA_FAIL": "cuStreamCreate:1:2"}, "cuStreamCreate: CUDA_ERROR_OUT_OF_MEMORY"),
    ],
)
def test_cannot_be_loaded(run: Run, settings: dict[str, object], message: str) -> None:
    result = run("device", **settings)
    assert result.code == 1
    assert len(result.said) == 1 and result.said[0].startswith(message)
    assert result.errors == ""
    assert clean(result.left), result.left


def test_one_of_two_gpus(run: Run) -> None:
    assert run("device", DEVICE=1, SOFT_CUDA_DEVICES=2).code == 0


def test_function_that_the_driver_lacks(run: Run, package: str) -> None:
    if package == "pycuda":
        pytest.skip("PyCUDA asks the linker for its functions, not the driver")
    result = run("graph", SOFT_CUDA_LACKS="cuGraphLaunch")
    assert result.code == 1
    assert result.said[0].startswith("cuGraphLaunch: ") and "older than cuda-bindings expects" in result.said[0]
    assert clean(result.left), result.left


def test_no_driver(run: Run, package: str) -> None:
    if ctypes.util.find_library("cuda"):
        pytest.skip("there is an NVIDIA driver here")
    with pytest.raises(AssertionError, match=r"there is no NVIDIA driver here \(libcuda.so.1 cannot be loaded\)"):
        run("device", LD_LIBRARY_PATH="")  # and so there are no counts at the end
