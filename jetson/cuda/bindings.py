"""`Cuda` on NVIDIA's cuda.bindings, 12.6 and later; only calls that 12 and 13 have alike are used."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.cuda import CudaDevice
from jetson.cuda.layer import NO_DRIVER, Layer, Release, check_driver, check_number, failure
from jetson.errors import CudaError, MissingExtra, first_line


class BindingsCuda(Layer):
    """One GPU through cuda.bindings."""

    name = "cuda.bindings"
    has_graphs = True

    def __init__(self, device: int = 0) -> None:
        """Retain the GPU's primary context and make it current here.

        Raises:
            MissingExtra: the package is not installed.
            CudaError: no driver, no such GPU, or the driver is older than the package.
        """
        self._driver, version = _import()
        try:
            status, *_ = self._driver.cuInit(0)
        except (RuntimeError, OSError, ImportError) as error:  # it looks for libcuda at the first call
            raise CudaError(NO_DRIVER) from error
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise failure("cuInit", status.name)
        driver_version = self._call("cuDriverGetVersion")
        major = version.split(".")[0]
        check_driver(
            "cuda-bindings",
            tuple(int(part) for part in version.split(".")[:2]),
            driver_version,
            f"update the driver, or pip install 'cuda-bindings<{major}'",
        )
        check_number(device, self._call("cuDeviceGetCount"))
        self._device = self._call("cuDeviceGet", device)
        self.device = self._describe(driver_version)
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)
        super().__init__()
        try:
            self._make_current()
            flags = self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value
            self._stream = self._call("cuStreamCreate", flags)
        except BaseException:
            self.close()
            raise
        self.stream = int(self._stream)

    def _describe(self, driver_version: int) -> CudaDevice:
        attributes = self._driver.CUdevice_attribute
        major, minor, integrated, maps = (
            self._call("cuDeviceGetAttribute", getattr(attributes, f"CU_DEVICE_ATTRIBUTE_{name}"), self._device)
            for name in ("COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR", "INTEGRATED", "CAN_MAP_HOST_MEMORY")
        )
        name: bytes = self._call("cuDeviceGetName", 256, self._device)
        return CudaDevice(
            name=name.split(b"\0")[0].decode(errors="replace"),
            compute_capability=(major, minor),
            total_bytes=self._call("cuDeviceTotalMem", self._device),
            integrated=bool(integrated),
            maps_host_memory=bool(maps),
            driver_version=driver_version,
        )

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function and check what it returns; gives its result, or a tuple of several."""
        try:
            status, *values = getattr(self._driver, name)(*arguments)
        except RuntimeError as error:  # the driver does not have this function
            raise CudaError(f"{name}: {first_line(error)}; the driver is older than cuda-bindings expects") from error
        except ValueError as error:  # an error that the package has no name for
            raise CudaError(f"{name}: {first_line(error)}") from error
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise failure(name, status.name)
        return values[0] if len(values) == 1 else tuple(values)

    def _make_current(self) -> None:
        self._call("cuCtxSetCurrent", self._context)

    def _allocate(self, size_bytes: int) -> tuple[int, Release]:
        address = int(self._call("cuMemAlloc", size_bytes))
        return address, partial(self._call, "cuMemFree", address)

    def _allocate_host(self, size_bytes: int, mapped: bool) -> tuple[npt.NDArray[np.uint8], int | None, Release]:
        flags = self._driver.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0
        start = int(self._call("cuMemHostAlloc", size_bytes, flags))
        release = partial(self._call, "cuMemFreeHost", start)
        try:
            address = int(self._call("cuMemHostGetDevicePointer", start, 0)) if mapped else None
        except CudaError:
            release()
            raise
        return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(start)), address, release

    def _copy_in(self, target: int, source: npt.NDArray[Any]) -> None:
        self._call("cuMemcpyHtoDAsync", target, source.ctypes.data, source.nbytes, self._stream)

    def _copy_out(self, target: npt.NDArray[Any], source: int) -> None:
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, source, target.nbytes, self._stream)

    def _fill(self, target: int, value: int, size_bytes: int) -> None:
        self._call("cuMemsetD8Async", target, value, size_bytes, self._stream)

    def _new_event(self, timing: bool) -> tuple[Any, Release]:
        flags = self._driver.CUevent_flags
        chosen = flags.CU_EVENT_DEFAULT if timing else flags.CU_EVENT_DISABLE_TIMING
        event = self._call("cuEventCreate", chosen.value)
        return event, partial(self._call, "cuEventDestroy", event)

    def _record(self, event: Any) -> None:
        self._call("cuEventRecord", event, self._stream)

    def _wait(self, event: Any) -> None:
        self._call("cuEventSynchronize", event)

    def _elapsed_ms(self, earlier: Any, later: Any) -> float:
        return float(self._call("cuEventElapsedTime", earlier, later))

    def _begin_capture(self) -> None:
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", self._stream, mode)

    def _end_capture(self) -> Any:
        return self._call("cuStreamEndCapture", self._stream)

    def _instantiate(self, graph: Any) -> tuple[Any, Release]:
        ready = self._call("cuGraphInstantiate", graph, 0)
        return ready, partial(self._call, "cuGraphExecDestroy", ready)

    def _destroy_graph(self, graph: Any) -> None:
        self._call("cuGraphDestroy", graph)

    def _launch(self, graph: Any) -> None:
        self._call("cuGraphLaunch", graph, self._stream)

    def _synchronize(self) -> None:
        self._call("cuStreamSynchronize", self._stream)

    def _memory(self) -> tuple[int, int]:
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)

    def _shut_down(self) -> Sequence[Release]:
        steps = [
            partial(self._call, "cuCtxSetCurrent", 0),  # releasing leaves it current, and dead
            partial(self._call, "cuDevicePrimaryCtxRelease", self._device),
        ]
        if self._stream is not None:
            steps.insert(0, partial(self._call, "cuStreamDestroy", self._stream))
        return steps


def _import() -> tuple[Any, str]:
    try:
        import cuda.bindings
        from cuda.bindings import driver
    except ModuleNotFoundError as error:
        if error.name in ("cuda", "cuda.bindings"):
            raise MissingExtra("cuda-bindings is not installed: pip install 'offramp[cuda]'") from None
        raise CudaError(f"cuda-bindings is installed and cannot be loaded: {first_line(error)}") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise CudaError(f"cuda-bindings is installed and cannot be loaded: {first_line(error)}") from error
    return driver, str(cuda.bindings.__version__)
