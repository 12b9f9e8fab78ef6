"""CUDA as far as the runtime needs it: one device, its primary context, one stream, memory, events, graphs.

Two packages can stand behind it, PyCUDA and NVIDIA's cuda.bindings; `load_cuda` takes the first that works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jetson.errors import BadInput, CudaError, MissingExtra

NAMES = ("pycuda", "cuda.bindings")
"""In the order of preference."""
ALIGNMENT = 256
"""Of every device address handed to an engine, bytes."""


@dataclass(frozen=True)
class CudaDevice:
    """What CUDA says of the device."""

    name: str
    compute_capability: tuple[int, int]
    total_bytes: int
    integrated: bool
    """GPU and host share one memory, as on a Jetson: mapped host memory then costs no copy."""
    maps_host_memory: bool
    driver_version: int
    """As CUDA writes it: 12060 is 12.6."""


class DeviceMemory(Protocol):
    """A block on the device."""

    address: int
    size_bytes: int

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        ...


class HostMemory(Protocol):
    """A page-locked block of the host."""

    array: npt.NDArray[np.uint8]
    address: int | None
    """Where the device sees the block; None when it was not asked to be mapped."""

    def free(self) -> None:
        """Give it back; `array` must not be used afterwards. A second call does nothing."""
        ...


class Event(Protocol):
    """A mark in the stream."""

    def record(self) -> None:
        """Put the mark behind all that is in the stream now."""
        ...

    def wait(self) -> None:
        """Let the host wait until the stream has come to the mark."""
        ...

    def since_ms(self, earlier: Event) -> float:
        """Milliseconds on the device between two marks it has passed."""
        ...


class Graph(Protocol):
    """Recorded work."""

    def launch(self) -> None:
        """Put the work into the stream once more."""
        ...

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        ...


class Cuda(Protocol):
    """One device. Every method raises `CudaError` with CUDA's own name for what went wrong.

    The context belongs to a thread once `enter` was called there; all other methods need that. What is dropped
    without `free` goes back at the next allocation, the rest with `close`, which the interpreter's exit calls too.
    """

    name: str
    device: CudaDevice
    stream: int
    """Handle of the one stream, not the default one; everything asynchronous goes there."""
    has_graphs: bool

    def enter(self) -> None:
        """Make the primary context current in the calling thread; cheap when it is already."""
        ...

    def allocate(self, size_bytes: int) -> DeviceMemory:
        """Device memory, aligned to `ALIGNMENT`."""
        ...

    def allocate_host(self, size_bytes: int, mapped: bool) -> HostMemory:
        """Page-locked host memory, zeroed; with `mapped` the device can read and write it in place."""
        ...

    def copy_to_device(self, target: int, source: npt.NDArray[Any]) -> None:
        """Put a copy of a contiguous host array to a device address into the stream."""
        ...

    def copy_to_host(self, target: npt.NDArray[Any], source: int) -> None:
        """Put a copy from a device address into a contiguous host array into the stream."""
        ...

    def fill(self, target: int, value: int, size_bytes: int) -> None:
        """Put the setting of bytes into the stream."""
        ...

    def event(self, timing: bool = True) -> Event:
        """A new mark, not yet recorded."""
        ...

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """Record what `enqueue` puts into the stream, without running it.

        Whatever `enqueue` raises comes out again, with the stream usable afterwards. The memory it works on must
        live as long as the graph.
        """
        ...

    def synchronize(self) -> None:
        """Let the host wait for all that is in the stream."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the device's memory."""
        ...

    def close(self) -> None:
        """Release the stream and the primary context; a second call does nothing."""
        ...


def load_cuda(name: str | None = None, device: int = 0) -> Cuda:
    """CUDA through the first package that is installed and works, or through the named one.

    Args:
        name: `pycuda` or `cuda.bindings`.
        device: number of the GPU.

    Raises:
        MissingExtra: neither package is installed; the message says what to install where.
        CudaError: no driver, no device, or the driver is older than the package.
    """
    if name is not None and name not in NAMES:
        raise BadInput(f"unknown CUDA package {name!r}; the packages are {', '.join(NAMES)}")
    missing: list[MissingExtra] = []
    broken: list[CudaError] = []
    for candidate in (name,) if name else NAMES:
        try:
            return _open(candidate, device)
        except MissingExtra as error:
            missing.append(error)
        except CudaError as error:
            broken.append(error)
    if broken:
        raise CudaError("; ".join(dict.fromkeys(str(error) for error in broken))) from broken[0]
    if name:
        raise missing[0]
    raise MissingExtra(
        "neither PyCUDA nor cuda-bindings is installed: on a Jetson pip install 'offramp[jetson]', "
        "elsewhere pip install 'offramp[cuda]'"
    )


def _open(name: str, device: int) -> Cuda:
    if name == "pycuda":
        from jetson.cuda.pycuda import PyCuda

        return PyCuda(device)
    from jetson.cuda.bindings import BindingsCuda

    return BindingsCuda(device)
