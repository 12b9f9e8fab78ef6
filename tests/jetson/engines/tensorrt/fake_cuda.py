"""A `Cuda` without a GPU: numpy memory behind invented addresses, a stream that does nothing until it is waited for.

It is stricter than a GPU. Copies read their source when they are carried out, not when they are ordered; every address
is looked up; a freed block, a thread that has not entered, or a wait in the middle of a recording is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from jetson.cuda import ALIGNMENT, CudaDevice
from jetson.errors import CudaError

GAP = 1 << 20
STREAM = 0x57EA3
UNIT_MS = 1.0
COPY_MS = 0.125


class Block:
    """Device memory, or page-locked host memory."""

    def __init__(self, cuda: FakeCuda, size: int, kind: str, mapped: bool = True) -> None:
        self.cuda, self.size_bytes, self.kind = cuda, size, kind
        # Device memory holds whatever was there; host memory comes zeroed.
        self.array = np.zeros(size, np.uint8) if kind == "host" else cuda.rng.integers(0, 256, size, np.uint8)
        self.address = None
        self.live = True
        if mapped:
            self.address = cuda.next_address + cuda.misalign
            cuda.next_address += -(-size // GAP) * GAP + GAP
        cuda.blocks.append(self)

    def free(self) -> None:
        if self.live:
            self.cuda.check()
            assert not self.cuda.pending, "freed while the stream may still use it"
            self.live = False
            self.array = None
            self.cuda.journal.append(f"free {self.kind}")


class Mark:
    def __init__(self, cuda: FakeCuda, timing: bool) -> None:
        self.cuda, self.timing = cuda, timing
        self.at: float | None = None

    def record(self) -> None:
        self.at = None
        self.cuda.put(self._pass)

    def _pass(self) -> None:
        self.at = self.cuda.clock

    def wait(self) -> None:
        self.cuda.drain(self)

    def since_ms(self, earlier: Mark) -> float:
        self.cuda.check()
        if self.at is None or earlier.at is None or not (self.timing and earlier.timing):
            raise CudaError("CUDA_ERROR_NOT_READY")
        return self.at - earlier.at


class Recording:
    def __init__(self, cuda: FakeCuda, work: list[Callable[[], None]]) -> None:
        self.cuda, self.work = cuda, work
        self.live, self.launches = True, 0

    def launch(self) -> None:
        self.cuda.check()
        if not self.live:
            raise CudaError("CUDA_ERROR_INVALID_VALUE: launch of a freed graph")
        if self.cuda.fails_to_launch:
            raise CudaError("CUDA_ERROR_UNKNOWN: launch")
        self.launches += 1
        for work in self.work:
            self.cuda.put(work)

    def free(self) -> None:
        if self.live:
            self.cuda.check()
            self.live = False
            self.work = []
            self.cuda.journal.append("free graph")


class FakeCuda:
    """One device. `integrated` is a Jetson, else a card with memory of its own."""

    def __init__(self, integrated: bool = False, maps: bool = True) -> None:
        self.name = "cuda.bindings"
        self.device = CudaDevice("Fake", (8, 7), 8 << 30, integrated, maps, 12060)
        self.stream, self.has_graphs = STREAM, True
        self.rng = np.random.default_rng(0)
        self.blocks: list[Block] = []
        self.graphs: list[Recording] = []
        self.journal: list[str] = []
        self.next_address = 0x7F00_0000_0000
        self.misalign = 0
        self.pending: list[Callable[[], None]] = []
        self.recorded: list[Callable[[], None]] | None = None
        self.clock = 0.0
        self.waits = 0
        self.copies: list[str] = []
        self.lost: str | None = None
        self.room = 1 << 40
        self.fails_to_capture: Callable[[int], bool] = lambda number: False
        self.damages: Callable[[list[Callable[[], None]]], list[Callable[[], None]]] = lambda work: work
        self.fails_to_launch = False
        self._entered = threading.local()
        self.closed = False

    # What the runtime sees.

    def enter(self) -> None:
        if self.closed:
            raise CudaError("CUDA_ERROR_CONTEXT_IS_DESTROYED")
        self._entered.yes = True
        self.check()

    def allocate(self, size_bytes: int) -> Block:
        self.check()
        if size_bytes > self.room:
            raise CudaError(f"CUDA_ERROR_OUT_OF_MEMORY: {size_bytes} bytes")
        return Block(self, size_bytes, "device")

    def allocate_host(self, size_bytes: int, mapped: bool) -> Block:
        self.check()
        if mapped and not self.device.maps_host_memory:
            raise CudaError("CUDA_ERROR_NOT_SUPPORTED: host memory cannot be mapped")
        return Block(self, size_bytes, "host", mapped)

    def copy_to_device(self, target: int, source: np.ndarray) -> None:
        assert source.flags.c_contiguous
        self.view(target, source.nbytes)
        self.copies.append("in")

        def work() -> None:
            self.view(target, source.nbytes)[...] = source.reshape(-1).view(np.uint8)
            self.clock += COPY_MS

        self.put(work)

    def copy_to_host(self, target: np.ndarray, source: int) -> None:
        assert target.flags.c_contiguous
        self.view(source, target.nbytes)
        self.copies.append("out")

        def work() -> None:
            target.reshape(-1).view(np.uint8)[...] = self.view(source, target.nbytes)
            self.clock += COPY_MS

        self.put(work)

    def fill(self, target: int, value: int, size_bytes: int) -> None:
        self.view(target, size_bytes)

        def work() -> None:
            self.view(target, size_bytes)[...] = value

        self.put(work)

    def event(self, timing: bool = True) -> Mark:
        self.check()
        return Mark(self, timing)

    def capture(self, enqueue: Callable[[], None]) -> Recording:
        self.check()
        assert self.recorded is None and not self.pending, "a recording begins with an empty stream"
        if self.fails_to_capture(len(self.graphs)):
            self.graphs.append(None)  # keeps the count
            raise CudaError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        self.recorded = []
        try:
            enqueue()
            work = self.recorded
        finally:
            self.recorded = None
        self.graphs.append(Recording(self, self.damages(work)))
        return self.graphs[-1]

    def synchronize(self) -> None:
        self.drain(None)

    def memory(self) -> tuple[int, int]:
        self.check()
        return self.device.total_bytes, self.device.total_bytes

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.journal.append("close cuda")

    # What the fakes and the tests use.

    @property
    def live(self) -> list[str]:
        return [b.kind for b in self.blocks if b.live] + ["graph" for g in self.graphs if g is not None and g.live]

    def check(self) -> None:
        """Every call needs a context in its thread, and a device that has not failed."""
        if self.lost:
            raise CudaError(self.lost)
        if self.closed or not getattr(self._entered, "yes", False):
            raise CudaError("CUDA_ERROR_INVALID_CONTEXT")

    def view(self, address: int, size: int) -> np.ndarray:
        """The bytes at an address as the device sees them."""
        self.check()
        for block in self.blocks:
            if block.address is not None and 0 <= (start := address - block.address) < block.size_bytes:
                if not block.live:
                    raise CudaError(f"CUDA_ERROR_ILLEGAL_ADDRESS: {address:#x} was freed")
                if start + size > block.size_bytes:
                    raise CudaError(f"CUDA_ERROR_ILLEGAL_ADDRESS: {size} bytes at {address:#x} run over the block")
                return block.array[start : start + size]
        raise CudaError(f"CUDA_ERROR_ILLEGAL_ADDRESS: {address:#x}")

    def put(self, work: Callable[[], None]) -> None:
        self.check()
        (self.pending if self.recorded is None else self.recorded).append(work)

    def drain(self, until: Mark | None) -> None:
        """Carry out what is in the stream, up to a mark."""
        self.check()
        if self.recorded is not None:
            raise CudaError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: waiting while recording")
        self.waits += 1
        while self.pending and (until is None or until.at is None):
            work = self.pending.pop(0)
            try:
                work()
            except CudaError as error:
                self.lost = str(error)
                self.pending.clear()
                raise

    def is_aligned(self, address: int) -> bool:
        return address % ALIGNMENT == 0
