"""`Cuda` on PyCUDA, 2024.1 and later.

PyCUDA keeps a stack of contexts for each thread beside CUDA's own. It aborts the process when a thread ends while
its stack is not empty, and leaks what is freed in a thread whose stack does not have the context. So here that stack
holds the context only while PyCUDA makes or frees something; in between, `cuCtxSetCurrent` alone makes it current,
which is all that copies, marks and TensorRT ask for.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from jetson.cuda import CudaDevice
from jetson.cuda.layer import NO_DRIVER, Layer, Release, check_driver, check_number, failure
from jetson.cuda.libcuda import LIBRARY, LibCuda
from jetson.errors import CudaError, first_line, missing_extra

T = TypeVar("T")

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING of cuda.h; PyCUDA has no name for it."""
REBUILD = "build PyCUDA again here: pip install --force-reinstall --no-cache-dir --no-binary pycuda pycuda"
MESSAGE = re.compile(r"([\w:]+) failed: (.*?)(?: - .*)?", re.DOTALL)


class PyCuda(Layer):
    """One GPU through PyCUDA; graphs, which it lacks, through the driver's library itself."""

    name = "pycuda"

    def __init__(self, device: int = 0) -> None:
        """Retain the GPU's primary context and make it current here.

        Raises:
            MissingExtra: the package is not installed.
            CudaError: no driver, no such GPU, or the driver is older than what PyCUDA was built for.
        """
        self._drv = _import()
        self._lib = LibCuda()
        self.has_graphs = self._lib.has_graphs
        self._call(self._drv.init)
        driver_version = self._call(self._drv.get_driver_version)
        check_driver("PyCUDA", self._drv.get_version(), driver_version, f"update the driver, or {REBUILD}")
        check_number(device, self._call(self._drv.Device.count))
        gpu = self._call(self._drv.Device, device)
        self.device = self._describe(gpu, driver_version)
        self._context = self._call(gpu.retain_primary_context)
        self._handle: int = self._context.handle
        super().__init__()
        try:
            self._make_current()
            self._stream = self._make(self._drv.Stream, NON_BLOCKING)
        except BaseException:
            self.close()
            raise
        self.stream = int(self._stream.handle)

    def _describe(self, gpu: Any, driver_version: int) -> CudaDevice:
        attribute = self._drv.device_attribute
        major, minor = self._call(gpu.compute_capability)
        return CudaDevice(
            name=self._call(gpu.name),
            compute_capability=(major, minor),
            total_bytes=self._call(gpu.total_memory),
            integrated=bool(self._call(gpu.get_attribute, attribute.INTEGRATED)),
            maps_host_memory=bool(self._call(gpu.get_attribute, attribute.CAN_MAP_HOST_MEMORY)),
            driver_version=driver_version,
        )

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call into PyCUDA; its exceptions have CUDA's description of an error, ours have the name."""
        try:
            return function(*arguments)
        except self._drv.Error as error:
            # a caller that keeps our error keeps this frame, and with it the stream or event whose method was called
            del function, arguments
            said = MESSAGE.fullmatch(str(error).strip())
            if said is None:
                raise CudaError(f"PyCUDA: {first_line(error)}") from error
            call, text = said.groups()
            raise failure(call, self._lib.name_of(text) or text) from error

    @contextmanager
    def _pushed(self) -> Iterator[None]:
        """Have the context on PyCUDA's stack of this thread, and off it again whatever happens."""
        self._call(self._context.push)
        try:
            yield
        finally:
            try:
                self._call(self._drv.Context.pop)
            except CudaError:
                self._abandon()
                raise
            self._make_current()  # below ours on PyCUDA's stack another one may lie, current again now

    def _make(self, function: Callable[..., T], *arguments: Any) -> T:
        with self._pushed():
            return self._call(function, *arguments)

    def _abandon(self) -> None:
        """Give up a context that cannot be popped: an invalid one leaves PyCUDA's stack without a call into CUDA."""
        self._forget()
        self._context.detach()
        self._drv.Context.get_current()

    def _make_current(self) -> None:
        self._lib.set_current(self._handle)

    def _allocate(self, size_bytes: int) -> tuple[int, Release]:
        block = self._make(self._drv.mem_alloc, size_bytes)
        return int(block), partial(self._make, block.free)

    def _allocate_host(self, size_bytes: int, mapped: bool) -> tuple[npt.NDArray[np.uint8], int | None, Release]:
        flags = self._drv.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._pushed():
            array = self._call(self._drv.pagelocked_empty, (size_bytes,), np.dtype(np.uint8), "C", flags)
            block = array.base
            try:
                address = int(self._call(block.get_device_pointer)) if mapped else None
            except CudaError:
                self._call(block.free)
                raise
        return array, address, partial(self._make, block.free)

    def _copy_in(self, target: int, source: npt.NDArray[Any]) -> None:
        self._call(self._drv.memcpy_htod_async, target, source, self._stream)

    def _copy_out(self, target: npt.NDArray[Any], source: int) -> None:
        self._call(self._drv.memcpy_dtoh_async, target, source, self._stream)

    def _fill(self, target: int, value: int, size_bytes: int) -> None:
        self._call(self._drv.memset_d8_async, target, value, size_bytes, self._stream)

    def _new_event(self, timing: bool) -> tuple[Any, Release]:
        flags = self._drv.event_flags
        # PyCUDA destroys an event with the last reference to it, so that there must be one reference only: in a box
        box = [self._make(self._drv.Event, flags.DEFAULT if timing else flags.DISABLE_TIMING)]
        return box, partial(self._make, box.clear)

    def _record(self, event: Any) -> None:
        self._call(event[0].record, self._stream)

    def _wait(self, event: Any) -> None:
        self._call(event[0].synchronize)

    def _elapsed_ms(self, earlier: Any, later: Any) -> float:
        return float(self._call(later[0].time_since, earlier[0]))

    def _begin_capture(self) -> None:
        self._lib.begin_capture(self.stream)

    def _end_capture(self) -> Any:
        return self._lib.end_capture(self.stream)

    def _instantiate(self, graph: Any) -> tuple[Any, Release]:
        return self._lib.instantiate(graph)

    def _destroy_graph(self, graph: Any) -> None:
        self._lib.destroy_graph(graph)

    def _launch(self, graph: Any) -> None:
        self._lib.launch(graph, self.stream)

    def _synchronize(self) -> None:
        self._call(self._stream.synchronize)

    def _memory(self) -> tuple[int, int]:
        free, total = self._call(self._drv.mem_get_info)
        return int(free), int(total)

    def _shut_down(self) -> Sequence[Release]:
        return [self._release_context]

    def _release_context(self) -> None:
        # Explicitly: PyCUDA's destructor mistakes a primary context for one of its own making. And on the stack: in
        # another thread than the one that retained it, PyCUDA would release nothing.
        self._call(self._context.push)
        self._stream = None
        self._call(self._context.detach)
        if self._drv.Context.get_current() is None:  # which takes the invalid one off PyCUDA's stack
            for _ in range(2):  # CUDA's own still has what was pushed and what was set
                self._lib.set_current(None)


def _import() -> Any:
    try:
        with warnings.catch_warnings():  # it warns and raises; one of them is enough
            warnings.simplefilter("ignore")
            import pycuda
            import pycuda.driver
    except (ImportError, OSError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "pycuda":
            raise missing_extra("PyCUDA", "jetson") from None
        said = first_line(error)
        if LIBRARY in said:
            raise CudaError(NO_DRIVER) from error
        if "undefined symbol" in said:
            raise CudaError(f"PyCUDA was built for another CUDA than the driver has: {REBUILD} [{said}]") from error
        raise CudaError(f"PyCUDA is installed and cannot be loaded: {REBUILD} [{said}]") from error
    return pycuda.driver
