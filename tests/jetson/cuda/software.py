"""Run in a process of its own, with the software driver on the library path: one check or scenario, or the contract.

    python -m tests.jetson.cuda.software pycuda copies

Prints what the software driver still counts at the very end, after Python's own exit handlers; for the contract also
after each check.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

import numpy as np
import pytest

from jetson.cuda import Cuda, load_cuda
from jetson.errors import CudaError, OfframpError
from tests.jetson.cuda.contract import CHECKS, MB

KINDS = ("retained", "releases", "lost", "device", "host", "stream", "event", "graph", "exec", "waiting", "depth")


def count(what: str) -> int:
    return int(ctypes.CDLL("libcuda.so.1").soft_cuda_count(what.encode()))


def fail(what: str | None) -> None:
    """Let a call fail: `CALL:N:CODE`."""
    ctypes.CDLL("libcuda.so.1").soft_cuda_fail(what.encode() if what else None)


def stale(cuda: Cuda) -> None:
    """Copies are asynchronous: nothing arrives before the host waits."""
    block, host = cuda.allocate(8), cuda.allocate_host(8, mapped=False)
    cuda.fill(block.address, 5, 8)
    cuda.copy_to_host(host.array, block.address)
    cuda.copy_to_device(block.address, host.array)
    assert not host.array.any() and count("waiting") == 3
    cuda.event().record()
    cuda.synchronize()
    assert (host.array == 5).all() and count("waiting") == 0


def held(cuda: Cuda) -> None:
    """Arrays are kept until the host has waited for their copy, and not a moment longer."""
    block, mark = cuda.allocate(8), cuda.event()
    before = sys.getrefcount(array := np.ones(8, np.uint8))
    cuda.copy_to_device(block.address, array)
    mark.record()
    cuda.copy_to_device(block.address, array)
    assert sys.getrefcount(array) == before + 2
    mark.wait()
    assert sys.getrefcount(array) == before + 1
    cuda.synchronize()
    assert sys.getrefcount(array) == before


def graph_temporaries(cuda: Cuda) -> None:
    """A graph keeps the arrays that its copies read, also when it was dropped while it runs."""
    block, target = cuda.allocate(MB), np.zeros(MB, np.uint8)
    graph = cuda.capture(lambda: cuda.copy_to_device(block.address, np.full(MB, 6, np.uint8)))
    rubbish = [np.full(MB, 77, np.uint8) for _ in range(4)]
    graph.launch()
    del graph
    gc.collect()
    cuda.event()  # gives back what was dropped
    rubbish += [np.full(MB, 78, np.uint8) for _ in range(4)]
    cuda.copy_to_host(target, block.address)
    cuda.synchronize()
    assert (target == 6).all()
    del rubbish


def no_context(cuda: Cuda) -> None:
    """A thread that did not enter is refused."""
    found: list[BaseException] = []

    def work() -> None:
        for call in (cuda.synchronize, cuda.memory):
            try:
                call()
            except CudaError as error:
                found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [str(e) for e in found] == [
        f"{c}: CUDA_ERROR_INVALID_CONTEXT" for c in ("cuStreamSynchronize", "cuMemGetInfo")
    ]


def not_closed(cuda: Cuda) -> None:
    """The interpreter's exit closes, whatever is alive and whichever threads are still there."""
    globals()["kept"] = [cuda, cuda.allocate(8), cuda.allocate_host(8, False), cuda.event(), cuda.event()]
    globals()["kept"].append(cuda.capture(lambda: None))
    entered = threading.Event()

    def stay() -> None:
        cuda.enter()
        cuda.allocate(100)
        entered.set()
        threading.Event().wait()

    threading.Thread(target=stay, daemon=True).start()
    entered.wait()


def closed_elsewhere(cuda: Cuda) -> None:
    """Another thread than the one that loaded may close, even while more threads are in it."""
    cuda.allocate(100)
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        cuda.enter()
        cuda.allocate_host(100, False)
        entered.set()
        leave.wait()

    staying, closing = threading.Thread(target=stay), threading.Thread(target=cuda.close)
    staying.start()
    entered.wait()
    closing.start()
    closing.join()
    leave.set()
    staying.join()
    assert count("retained") == 0


def forked(cuda: Cuda) -> None:
    """A child that ends in the ordinary way leaves its parent's context alone."""
    cuda.allocate(8)
    child = os.fork()
    if not child:
        fail("cuStreamDestroy:1:719")  # would be logged
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    cuda.synchronize()


def sticky(cuda: Cuda) -> None:
    """A fault on the device is every later call's error, and closing is silent about it but for one line."""
    block = cuda.allocate(8)
    graph = cuda.capture(lambda: cuda.fill(block.address, 1, 8))
    block.free()
    graph.launch()
    for _ in range(2):
        with pytest.raises(CudaError, match="cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS"):
            cuda.synchronize()
    with pytest.raises(CudaError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        cuda.allocate(8)
    graph.free()
    cuda.close()


def unmapped(cuda: Cuda) -> None:
    """Where memory cannot be mapped, asking for it leaves nothing behind."""
    assert not cuda.device.maps_host_memory
    for _ in range(3):
        with pytest.raises(CudaError, match="cuMemHostGetDevicePointer: CUDA_ERROR_INVALID_VALUE"):
            cuda.allocate_host(8, mapped=True)
    assert count("host") == 0
    cuda.allocate_host(8, mapped=False).free()


def integrated(cuda: Cuda) -> None:
    """A GPU that shares the host's memory says so."""
    assert cuda.device.integrated and cuda.device.maps_host_memory
    CHECKS["mapped_memory"](cuda)


def everything(cuda: Cuda) -> None:
    """Each call once, for a failure in any of them."""
    cuda.enter()
    block, host = cuda.allocate(8), cuda.allocate_host(8, mapped=True)
    first, second = cuda.event(), cuda.event(timing=False)
    first.record()
    cuda.fill(block.address, 1, 8)
    cuda.copy_to_device(block.address, host.array)
    cuda.copy_to_host(host.array, block.address)
    second.record()
    second.wait()
    cuda.memory()
    graph = cuda.capture(lambda: cuda.fill(block.address, 1, 8))
    graph.launch()
    cuda.synchronize()
    second = cuda.event()
    second.record()
    second.wait()
    second.since_ms(first)
    for thing in (graph, host, block):
        thing.free()
    del first
    cuda.event()


def each_call_fails(cuda: Cuda) -> None:
    """Whichever call fails is named by the error, and nothing is left behind."""
    cuda.close()
    calls = "cuInit cuDeviceGetCount cuDeviceGet cuDeviceGetAttribute cuDevicePrimaryCtxRetain cuCtxSetCurrent "
    calls += "cuStreamCreate cuMemAlloc cuMemHostAlloc cuMemHostGetDevicePointer cuEventCreate cuEventRecord "
    calls += "cuEventSynchronize cuEventElapsedTime cuMemsetD8Async cuMemcpyHtoDAsync cuMemcpyDtoHAsync cuMemGetInfo "
    calls += "cuStreamSynchronize cuStreamBeginCapture cuGraphInstantiate cuGraphLaunch"
    for call in calls.split() + (["cuCtxPushCurrent"] if cuda.name == "pycuda" else []):
        fail(f"{call}:1:1")
        again: Cuda | None = None
        with pytest.raises(CudaError) as caught:
            again = load_cuda(cuda.name)
            everything(again)
        assert str(caught.value).startswith(f"{call}") and "CUDA_ERROR_INVALID_VALUE" in str(caught.value)
        if again is not None:
            again.close()
        left = {kind: count(kind) for kind in KINDS if kind != "releases" and count(kind)}
        assert not left, f"{call} failed and left {left}"


def giving_back_fails(cuda: Cuda) -> None:
    """A block that cannot be given back is no error of the call that frees it; who logs is told."""
    logging.basicConfig()
    for call in ("cuMemFree", "cuMemFreeHost", "cuEventDestroy", "cuGraphDestroy", "cuGraphExecDestroy"):
        fail(f"{call}:1:1")
        everything(cuda)
    fail("cuStreamDestroy:1:1")


def pop_fails(cuda: Cuda) -> None:
    """PyCUDA aborts the process over a context it cannot pop; ours gives the context up instead."""
    block = cuda.allocate(8)
    fail("cuCtxPopCurrent:1:201")
    with pytest.raises(CudaError, match="cuCtxPopCurrent: CUDA_ERROR_INVALID_CONTEXT"):
        cuda.allocate(8)
    block.free()
    with pytest.raises(CudaError, match="closed"):
        cuda.synchronize()


def another_context(cuda: Cuda) -> None:
    """An application's own use of PyCUDA, on another GPU in the same thread, goes on before, during and after ours."""
    import pycuda.driver as drv

    theirs = drv.Device(1).retain_primary_context()
    theirs.push()
    cuda.enter()
    CHECKS["graph"](cuda)
    CHECKS["threads"](cuda)
    assert drv.Context.get_current() == theirs
    cuda.close()
    assert drv.Context.get_current() == theirs
    drv.mem_alloc(8).free()
    drv.Context.pop()
    theirs.detach()


SCENARIOS: dict[str, Callable[[Cuda], None]] = {
    f.__name__: f
    for f in (
        stale,
        held,
        graph_temporaries,
        no_context,
        not_closed,
        closed_elsewhere,
        forked,
        sticky,
        unmapped,
        integrated,
        everything,
        each_call_fails,
        giving_back_fails,
        pop_fails,
        another_context,
    )
}


def contract(name: str) -> None:
    """Every check with a `Cuda` of its own; a line for each with what went wrong and what was left."""
    for check in CHECKS:
        error, releases = "", count("releases")
        try:
            cuda = load_cuda(name)
            CHECKS[check](cuda)
            cuda.close()
        except BaseException:
            error = traceback.format_exc()
        left = {kind: count(kind) for kind in KINDS} | {"releases": count("releases") - releases}
        print(json.dumps({"check": check, "error": error, "left": left}), flush=True)


def main() -> None:
    name, what = sys.argv[1:]
    if name == "pycuda":  # it refers to the whole driver API, of which the software driver has a part
        sys.setdlopenflags(os.RTLD_LAZY)
    process = os.getpid()
    atexit.register(lambda: os.getpid() == process and print(json.dumps({kind: count(kind) for kind in KINDS})))
    if what == "contract":
        contract(name)
        return
    try:
        cuda = load_cuda(name, int(os.environ.get("DEVICE", "0")))
        {**CHECKS, **SCENARIOS}[what](cuda)
    except OfframpError as error:
        print(error)
        sys.exit(error.exit_code)
    if what not in ("not_closed", "forked"):
        cuda.close()


if __name__ == "__main__":
    main()
