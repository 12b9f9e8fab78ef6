"""What every `Cuda` must do, as checks that take one: on the software driver, and in tests/gpu on a real GPU."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest

from jetson.cuda import ALIGNMENT, NAMES, Cuda
from jetson.errors import CudaError

MB = 1 << 20


def check_device(cuda: Cuda) -> None:
    device = cuda.device
    assert cuda.name in NAMES
    assert cuda.stream not in (0, 1, 2)  # the default stream, under any of its handles
    assert device.name and device.name == device.name.strip("\0 ")
    assert device.compute_capability >= (5, 0)
    free, total = cuda.memory()
    assert 0 < free <= total
    assert device.total_bytes > 0
    assert device.driver_version >= 12000


def check_copies(cuda: Cuda) -> None:
    for dtype, shape in ((np.uint8, (7,)), (np.float16, (3, 5)), (np.float32, (1, 3, 32, 32)), (np.int64, ())):
        source = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
        block = cuda.allocate(source.nbytes + 64)
        target = np.zeros(shape, dtype)
        cuda.copy_to_device(block.address + 64, np.ascontiguousarray(source).reshape(shape))
        cuda.copy_to_host(target, block.address + 64)
        cuda.synchronize()
        np.testing.assert_array_equal(target, source)
        block.free()


def check_addresses(cuda: Cuda) -> None:
    blocks = [cuda.allocate(size) for size in (0, 1, 255, 257, 1000, 3 * MB + 1)]
    assert [b.size_bytes for b in blocks] == [0, 1, 255, 257, 1000, 3 * MB + 1]
    assert all(b.address % ALIGNMENT == 0 for b in blocks)
    assert len({b.address for b in blocks}) == len(blocks)
    with pytest.raises(ValueError):
        cuda.allocate(-1)


def check_fill(cuda: Cuda) -> None:
    block = cuda.allocate(64)
    target = np.zeros(64, np.uint8)
    cuda.fill(block.address, 0, 64)
    cuda.fill(block.address + 10, 255, 20)
    cuda.fill(block.address, 9, 0)
    cuda.copy_to_host(target, block.address)
    cuda.synchronize()
    assert target.tolist() == [0] * 10 + [255] * 20 + [0] * 34


def check_host_memory(cuda: Cuda) -> None:
    host = cuda.allocate_host(1000, mapped=False)
    assert host.address is None
    assert host.array.dtype == np.uint8 and host.array.shape == (1000,) and not host.array.any()
    block = cuda.allocate(1000)
    cuda.fill(block.address, 3, 1000)
    cuda.copy_to_host(host.array, block.address)
    cuda.synchronize()
    assert (host.array == 3).all()
    host.free()
    host.free()
    assert len(host.array) == 0
    assert not cuda.allocate_host(1000, mapped=False).array.any()
    assert len(cuda.allocate_host(0, mapped=False).array) == 0


def check_freed_at_work(cuda: Cuda) -> None:
    """Freeing waits for the copies that still read or write the memory."""
    block = cuda.allocate(MB)
    for _ in range(3):
        source, target = cuda.allocate_host(MB, mapped=False), cuda.allocate_host(MB, mapped=False)
        source.array.fill(9)
        cuda.copy_to_device(block.address, source.array)
        source.free()
        cuda.copy_to_host(target.array, block.address)
        target.free()
    seen = np.zeros(MB, np.uint8)
    cuda.copy_to_host(seen, block.address)
    cuda.synchronize()
    assert (seen == 9).all()


def check_mapped_memory(cuda: Cuda) -> None:
    if not cuda.device.maps_host_memory:
        with pytest.raises(CudaError):
            cuda.allocate_host(100, mapped=True)
        return
    host = cuda.allocate_host(100, mapped=True)
    assert host.address
    cuda.fill(host.address + 5, 8, 10)
    cuda.synchronize()
    assert host.array.tolist() == [0] * 5 + [8] * 10 + [0] * 85
    host.array[:] = np.arange(100)
    seen = np.zeros(50, np.uint8)
    cuda.copy_to_host(seen, host.address + 50)
    cuda.synchronize()
    assert seen.tolist() == list(range(50, 100))


def check_events(cuda: Cuda) -> None:
    first, second, never, untimed = cuda.event(), cuda.event(), cuda.event(), cuda.event(timing=False)
    block = cuda.allocate(MB)
    target = np.zeros(MB, np.uint8)
    first.record()
    cuda.fill(block.address, 4, MB)
    cuda.copy_to_host(target, block.address)
    second.record()
    untimed.record()
    second.wait()
    assert (target == 4).all()
    untimed.wait()
    assert second.since_ms(first) > 0
    for wrong in (never, untimed):
        with pytest.raises(CudaError, match="cuEventElapsedTime: CUDA_ERROR_INVALID_HANDLE"):
            wrong.since_ms(first)
    second.record()
    second.wait()  # once more, with nothing before it


def check_temporaries(cuda: Cuda) -> None:
    """An array that its caller dropped at once, before the copy can have run."""
    blocks = [cuda.allocate(MB) for _ in range(8)]
    target = np.zeros(MB, np.uint8)
    for value, block in enumerate(blocks, start=1):
        cuda.copy_to_device(block.address, np.full(MB, value, np.uint8))
    gc.collect()
    rubbish = [np.full(MB, 77, np.uint8) for _ in range(8)]
    for value, block in enumerate(blocks, start=1):
        cuda.copy_to_host(target, block.address)
        cuda.synchronize()
        assert (target == value).all()
    del rubbish


def check_contiguous(cuda: Cuda) -> None:
    block = cuda.allocate(100)
    grid = np.zeros((10, 10), np.uint8)
    fixed = np.zeros(100, np.uint8)
    fixed.flags.writeable = False
    with pytest.raises(ValueError):
        cuda.copy_to_device(block.address, grid[:, ::2])
    with pytest.raises(ValueError):
        cuda.copy_to_host(grid.T, block.address)
    with pytest.raises(ValueError):
        cuda.copy_to_host(fixed, block.address)
    cuda.copy_to_device(block.address, fixed)
    cuda.copy_to_host(np.zeros(0, np.uint8), block.address)
    cuda.synchronize()


def check_out_of_memory(cuda: Cuda) -> None:
    size = 4 * cuda.device.total_bytes
    with pytest.raises(CudaError, match=r"^cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY \(asked for [\d,]+ MB, [\d,]+ MB of"):
        cuda.allocate(size)
    assert cuda.allocate(100).address
    cuda.synchronize()


def check_dropped_memory(cuda: Cuda) -> None:
    """What nobody freed and nobody can reach any more comes back; here five times a third of all there is."""
    share = cuda.memory()[0] // 3
    for _ in range(5):
        block = cuda.allocate(share)
        assert block.address
        del block


def check_graph(cuda: Cuda) -> None:
    source, block = cuda.allocate_host(8, mapped=False), cuda.allocate(8)
    target = cuda.allocate_host(8, mapped=False)

    def enqueue() -> None:
        cuda.copy_to_device(block.address, source.array)
        cuda.fill(block.address, 5, 2)
        cuda.copy_to_host(target.array, block.address)

    graph = cuda.capture(enqueue)
    cuda.synchronize()
    assert not target.array.any(), "capturing ran the work"
    for value in (1, 2):
        source.array[:] = value
        graph.launch()
        cuda.synchronize()
        assert target.array.tolist() == [5, 5] + [value] * 6
    graph.launch()
    graph.free()
    graph.free()
    with pytest.raises(CudaError, match="freed"):
        graph.launch()


def check_capture_fails(cuda: Cuda) -> None:
    """Whatever goes wrong in a capture comes out, and the stream is as before."""
    block, target = cuda.allocate(8), np.zeros(8, np.uint8)

    class OddError(BaseException):
        pass

    def raise_it() -> None:
        cuda.fill(block.address, 1, 8)
        raise OddError

    with pytest.raises(OddError):
        cuda.capture(raise_it)
    with pytest.raises(CudaError, match=r"cuStreamSynchronize: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        cuda.capture(cuda.synchronize)
    with pytest.raises(CudaError, match=r"cuMemAlloc: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        cuda.capture(lambda: cuda.allocate(1000).free())
    with pytest.raises(CudaError, match=r"cuStreamBeginCapture: CUDA_ERROR_ILLEGAL_STATE"):
        cuda.capture(lambda: cuda.capture(raise_it).free())

    def swallow() -> None:
        with pytest.raises(CudaError):
            cuda.synchronize()

    with pytest.raises(CudaError, match=r"cuStreamEndCapture: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"):
        cuda.capture(swallow)
    cuda.fill(block.address, 2, 8)
    cuda.copy_to_host(target, block.address)
    cuda.synchronize()
    assert (target == 2).all()
    graph = cuda.capture(lambda: cuda.fill(block.address, 3, 8))
    graph.launch()
    cuda.copy_to_host(target, block.address)
    cuda.synchronize()
    assert (target == 3).all()


def check_threads(cuda: Cuda) -> None:
    """Each thread that entered works like the first, allocates, frees, captures, and may end."""
    block = cuda.allocate(8)
    results: list[object] = []

    def work(value: int) -> None:
        try:
            for _ in range(3):
                cuda.enter()
            target, own = cuda.allocate_host(8, mapped=False), cuda.allocate(8)
            graph = cuda.capture(lambda: cuda.fill(block.address, value, 8))
            graph.launch()
            mark = cuda.event()
            cuda.copy_to_host(target.array, block.address)
            mark.record()
            mark.wait()
            results.append(target.array.tolist())
            own.free()
            target.free()
        except BaseException as error:
            results.append(error)

    for value in range(1, 5):
        thread = threading.Thread(target=work, args=(value,))
        thread.start()
        thread.join()
    assert results == [[value] * 8 for value in range(1, 5)]
    cuda.synchronize()


def check_freed_elsewhere(cuda: Cuda) -> None:
    """Blocks may be freed, and be collected, in a thread that never entered."""
    freed, dropped = cuda.allocate_host(MB, mapped=False), [cuda.allocate(MB), cuda.event()]

    def work() -> None:
        freed.free()
        dropped.clear()
        gc.collect()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert cuda.allocate(1).address


def check_two_at_once(cuda: Cuda) -> None:
    """The primary context lives until the last who retained it is done."""
    other = type(cuda)()
    block, target = cuda.allocate(8), np.zeros(8, np.uint8)
    assert other.stream != cuda.stream
    other.fill(block.address, 6, 8)
    other.synchronize()
    other.close()
    cuda.enter()
    cuda.copy_to_host(target, block.address)
    cuda.synchronize()
    assert (target == 6).all()


def check_closed(cuda: Cuda) -> None:
    """Nothing works after `close`, all of it says why, and giving back does nothing."""
    block, host, mark = cuda.allocate(8), cuda.allocate_host(8, mapped=False), cuda.event()
    graph = cuda.capture(lambda: cuda.fill(block.address, 1, 8))
    array = np.zeros(8, np.uint8)
    cuda.fill(block.address, 1, 8)
    cuda.copy_to_host(array, block.address)
    cuda.close()
    assert (array == 1).all(), "the copy was given up"
    cuda.close()
    calls: list[Callable[[], object]] = [
        cuda.enter,
        cuda.synchronize,
        cuda.memory,
        cuda.event,
        mark.record,
        mark.wait,
        graph.launch,
        lambda: mark.since_ms(mark),
        lambda: cuda.allocate(1),
        lambda: cuda.allocate_host(1, mapped=False),
        lambda: cuda.fill(block.address, 1, 1),
        lambda: cuda.copy_to_device(block.address, array),
        lambda: cuda.copy_to_host(array, block.address),
        lambda: cuda.capture(lambda: None),
    ]
    for call in calls:
        with pytest.raises(CudaError, match="closed"):
            call()
    for thing in (block, host, graph, block):
        thing.free()


CHECKS: dict[str, Callable[[Cuda], None]] = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}
