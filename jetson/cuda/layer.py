"""What both implementations of `Cuda` share: who owns what, who keeps what alive, and how errors read."""

from __future__ import annotations

import atexit
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from jetson.cuda import CudaDevice, Event
from jetson.errors import CudaError
from jetson.log import get_logger

Release = Callable[[], None]

logger = get_logger(__name__)
OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
NO_DRIVER = (
    "there is no NVIDIA driver here (libcuda.so.1 cannot be loaded): on a Jetson JetPack brings it, and a container "
    "needs --runtime nvidia; elsewhere install NVIDIA's driver"
)
REMEDIES = {
    "CUDA_ERROR_NO_DEVICE": "CUDA finds no GPU; is CUDA_VISIBLE_DEVICES right, and may this user open /dev/nv*?",
    "CUDA_ERROR_STUB_LIBRARY": "that libcuda.so.1 is the toolkit's stub; take its folder out of LD_LIBRARY_PATH",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "libcuda and the kernel's driver are of two versions; restart the machine",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another process holds the GPU for itself",
}


def failure(call: str, name: str) -> CudaError:
    """The error for a call that CUDA refused, with what to do where that is known."""
    remedy = REMEDIES.get(name)
    return CudaError(f"{call}: {name}" + (f" ({remedy})" if remedy else ""))


def check_driver(package: str, built_for: tuple[int, ...], driver: int, remedy: str) -> None:
    """Refuse a driver of an older CUDA generation than the package is made for: calls would be missing in it.

    Args:
        package: its name.
        built_for: major and minor version of the CUDA the package was made for.
        driver: version as CUDA writes it, 12060 for 12.6.
        remedy: what to run.
    """
    if driver // 1000 < built_for[0]:
        wanted = ".".join(map(str, built_for[:2]))
        raise CudaError(
            f"the driver is for CUDA {driver // 1000}.{driver % 1000 // 10}, {package} for CUDA {wanted}: {remedy}"
        )


def check_number(device: int, count: int) -> None:
    """Refuse the number of a GPU that is not there."""
    if not 0 <= device < count:
        raise CudaError(f"there is no GPU {device}: CUDA sees {count}, and counts from 0")


class _Owned:
    """Something CUDA gave that has to be given back."""

    def __init__(self, layer: Layer, release: Release) -> None:
        self._layer = layer
        self._key = layer._adopt(release)

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        self._layer._free(self._key)

    def __del__(self) -> None:
        # The collector runs in any thread, at any time, in the midst of a capture too: no call into CUDA from here.
        self._layer._dropped.append(self._key)


class _DeviceBlock(_Owned):
    def __init__(self, layer: Layer, address: int, size_bytes: int, release: Release) -> None:
        super().__init__(layer, release)
        self.address = address
        self.size_bytes = size_bytes


class _HostBlock(_Owned):
    def __init__(self, layer: Layer, array: npt.NDArray[np.uint8], address: int | None, release: Release) -> None:
        super().__init__(layer, release)
        self.array = array
        self.address = address

    def free(self) -> None:
        self.array = np.empty(0, np.uint8)  # an IndexError is better than a read of memory that is gone
        super().free()


class _Event(_Owned):
    def __init__(self, layer: Layer, handle: Any, release: Release) -> None:
        super().__init__(layer, release)
        self.handle = handle
        self._passed = 0

    def record(self) -> None:
        self._layer._check()
        self._layer._record(self.handle)
        self._passed = self._layer._put

    def wait(self) -> None:
        self._layer._check()
        self._layer._wait(self.handle)
        self._layer._let_go(self._passed)

    def since_ms(self, earlier: Event) -> float:
        self._layer._check()
        return self._layer._elapsed_ms(cast("_Event", earlier).handle, self.handle)


class _Graph(_Owned):
    def __init__(self, layer: Layer, handle: Any, release: Release) -> None:
        super().__init__(layer, release)
        self._handle = handle

    def launch(self) -> None:
        self._layer._check()
        if self._key not in self._layer._live:
            raise CudaError("this graph was freed")
        self._layer._launch(self._handle)


class Layer(ABC):
    """`Cuda`, less the calls themselves.

    Whatever CUDA gave stays in `_live` until it is freed. What Python has dropped without a `free` goes back at the
    next allocation; the rest with `close`, which runs at the interpreter's exit at the latest. Giving back never
    raises: a context that failed has said so at the call before, and that error is the one to see. It is logged.
    """

    name: str
    device: CudaDevice
    stream: int
    has_graphs: bool

    def __init__(self) -> None:
        self._stream: Any = None
        self._live: dict[int, Release] = {}
        self._keys = 0
        self._dropped: deque[int] = deque()
        self._held: deque[tuple[int, Any]] = deque()
        """Arrays that copies under way read or write, numbered: a temporary of the caller's must outlive its copy."""
        self._put = 0
        self._recorded: list[Any] | None = None
        """The same for the copies in a graph, while it is being recorded."""
        self._open = True
        self._process = os.getpid()
        atexit.register(self._at_exit)

    # What an implementation adds. An allocation comes with the call that gives it back.

    @abstractmethod
    def _make_current(self) -> None: ...
    @abstractmethod
    def _allocate(self, size_bytes: int) -> tuple[int, Release]: ...
    @abstractmethod
    def _allocate_host(self, size_bytes: int, mapped: bool) -> tuple[npt.NDArray[np.uint8], int | None, Release]: ...
    @abstractmethod
    def _copy_in(self, target: int, source: npt.NDArray[Any]) -> None: ...
    @abstractmethod
    def _copy_out(self, target: npt.NDArray[Any], source: int) -> None: ...
    @abstractmethod
    def _fill(self, target: int, value: int, size_bytes: int) -> None: ...
    @abstractmethod
    def _new_event(self, timing: bool) -> tuple[Any, Release]: ...
    @abstractmethod
    def _record(self, event: Any) -> None: ...
    @abstractmethod
    def _wait(self, event: Any) -> None: ...
    @abstractmethod
    def _elapsed_ms(self, earlier: Any, later: Any) -> float: ...
    @abstractmethod
    def _begin_capture(self) -> None: ...
    @abstractmethod
    def _end_capture(self) -> Any: ...
    @abstractmethod
    def _instantiate(self, graph: Any) -> tuple[Any, Release]: ...
    @abstractmethod
    def _destroy_graph(self, graph: Any) -> None: ...
    @abstractmethod
    def _launch(self, graph: Any) -> None: ...
    @abstractmethod
    def _synchronize(self) -> None: ...
    @abstractmethod
    def _memory(self) -> tuple[int, int]: ...
    @abstractmethod
    def _shut_down(self) -> Sequence[Release]:
        """The last calls: destroy the stream, release the primary context."""

    # The protocol.

    def enter(self) -> None:
        """Make the primary context current in the calling thread."""
        self._check()
        self._make_current()

    def allocate(self, size_bytes: int) -> _DeviceBlock:
        """Device memory; an address for 0 bytes too."""
        self._prepare(size_bytes)
        try:
            # CUDA aligns to 256 at least, `ALIGNMENT`, and refuses a block of nothing
            address, release = self._allocate(max(size_bytes, 1))
        except CudaError as error:
            raise self._out_of_memory(error, size_bytes) from error
        return _DeviceBlock(self, address, size_bytes, release)

    def allocate_host(self, size_bytes: int, mapped: bool) -> _HostBlock:
        """Page-locked host memory, zeroed."""
        self._prepare(size_bytes)
        try:
            array, address, release = self._allocate_host(max(size_bytes, 1), mapped)
        except CudaError as error:
            raise self._out_of_memory(error, size_bytes) from error
        array.fill(0)

        def wait_and_release() -> None:
            with suppress(CudaError):  # the stream may still read or write it
                self._synchronize()
            release()

        return _HostBlock(self, array[:size_bytes], address, wait_and_release)

    def copy_to_device(self, target: int, source: npt.NDArray[Any]) -> None:
        """Put a copy to the device into the stream."""
        self._check()
        if not source.flags.c_contiguous:
            raise ValueError("the array to copy from is not contiguous")
        if source.nbytes:
            self._hold(source)
            self._copy_in(target, source)

    def copy_to_host(self, target: npt.NDArray[Any], source: int) -> None:
        """Put a copy from the device into the stream."""
        self._check()
        if not (target.flags.c_contiguous and target.flags.writeable):
            raise ValueError("the array to copy into is not contiguous, or read-only")
        if target.nbytes:
            self._hold(target)
            self._copy_out(target, source)

    def fill(self, target: int, value: int, size_bytes: int) -> None:
        """Put the setting of bytes into the stream."""
        self._check()
        if size_bytes:
            self._fill(target, value, size_bytes)

    def event(self, timing: bool = True) -> _Event:
        """A new mark."""
        self._prepare(0)
        handle, release = self._new_event(timing)
        return _Event(self, handle, release)

    def capture(self, enqueue: Callable[[], None]) -> _Graph:
        """Record what `enqueue` puts into the stream.

        Captured in CUDA's thread-local mode: what a replay could not repeat (an allocation, a wait) fails in this
        thread, and other threads go on undisturbed. In relaxed mode an allocation by TensorRT in mid-capture would
        pass and be replayed after it was freed; in global mode another thread's allocation would spoil the capture.
        """
        self._prepare(0)
        if not self.has_graphs:
            raise CudaError(f"this driver has no graphs that {self.name} could use; run without them")
        self._begin_capture()
        kept: list[Any] = []
        self._recorded = kept
        try:
            enqueue()
        except BaseException:
            with suppress(CudaError):  # an invalid capture ends too, and what `enqueue` raised is the one to see
                self._destroy_graph(self._end_capture())
            raise
        finally:
            self._recorded = None
        graph = self._end_capture()
        try:
            handle, release = self._instantiate(graph)
        finally:
            _quietly(partial(self._destroy_graph, graph))

        def wait_and_release() -> None:
            with suppress(CudaError):  # it may still be running, on memory that lives as long as it does
                self._synchronize()
            release()
            kept.clear()

        return _Graph(self, handle, wait_and_release)

    def synchronize(self) -> None:
        """Let the host wait for all that is in the stream."""
        self._check()
        self._synchronize()
        self._let_go(self._put)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the device's memory."""
        self._check()
        return self._memory()

    def close(self) -> None:
        """Give back everything; a second call does nothing."""
        if not self._open:
            return
        steps: list[Release] = [self._make_current, *reversed(self._live.values())]
        if self._stream is not None:
            steps.insert(1, self._synchronize)
        self._forget()
        failed: list[CudaError] = []
        for step in (*steps, *self._shut_down()):
            try:
                step()
            except CudaError as error:
                failed.append(error)
        self._held.clear()
        if failed:
            logger.warning("%d calls failed while CUDA was closed, the first: %s", len(failed), failed[0])

    # Who owns what.

    def _at_exit(self) -> None:
        if os.getpid() == self._process:  # a forked child must not touch its parent's context
            self.close()

    def _forget(self) -> None:
        self._open = False
        self._live.clear()
        atexit.unregister(self._at_exit)

    def _check(self) -> None:
        if not self._open:
            raise CudaError("CUDA was closed")

    def _prepare(self, size_bytes: int) -> None:
        while self._dropped and self._recorded is None:
            self._free(self._dropped.popleft())
        self._check()
        if size_bytes < 0:
            raise ValueError(f"{size_bytes} bytes")

    def _adopt(self, release: Release) -> int:
        self._keys += 1
        self._live[self._keys] = release
        return self._keys

    def _free(self, key: int) -> None:
        release = self._live.pop(key, None)
        if release is not None:
            _quietly(self._make_current)
            _quietly(release)

    def _hold(self, array: npt.NDArray[Any]) -> None:
        if self._recorded is not None:
            self._recorded.append(array)
        else:
            self._put += 1
            self._held.append((self._put, array))

    def _let_go(self, passed: int) -> None:
        while self._held and self._held[0][0] <= passed:
            self._held.popleft()

    def _out_of_memory(self, error: CudaError, size_bytes: int) -> CudaError:
        if OUT_OF_MEMORY not in str(error):
            return error
        try:
            free, total = (_mb(n) for n in self._memory())
        except CudaError:
            return CudaError(f"{error} (asked for {_mb(size_bytes)} MB)")
        return CudaError(f"{error} (asked for {_mb(size_bytes)} MB, {free} MB of {total} MB free)")


def _quietly(release: Release) -> None:
    try:
        release()
    except CudaError as error:
        logger.warning("could not be given back: %s", error)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.{0 if size_bytes >= 10e6 else 1}f}"
