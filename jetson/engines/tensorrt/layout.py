"""The memory that all units of a bundle share: where each reads, where each writes, what the host sees of it."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.cuda import ALIGNMENT, Cuda
from jetson.errors import EngineError
from jetson.manifest import Manifest, Tensor, Unit


class Layout:
    """Scratch, tokens, input and outputs; laid out once, so that no address changes afterwards.

    Where GPU and host share one memory (a Jetson), input and branch outputs lie in page-locked memory that both use
    in place. Elsewhere they lie in such memory and on the device, and `copy_in` and `copy_out` put the copies into
    the stream.
    """

    def __init__(self, cuda: Cuda, manifest: Manifest, scratch_bytes: int, stack: contextlib.ExitStack) -> None:
        """Allocate.

        Args:
            cuda: entered in this thread.
            manifest: of the bundle.
            scratch_bytes: what the hungriest engine asks for.
            stack: is told how to free each block as soon as it is there.

        Raises:
            CudaError: no room.
            EngineError: memory came unaligned.
        """
        self._cuda = cuda
        self._units = manifest.units
        self.zero_copy = cuda.device.integrated and cuda.device.maps_host_memory
        segments = manifest.segments
        self._first = manifest.units.index(segments[0])
        self.scratch_bytes = max(scratch_bytes, ALIGNMENT)
        self.scratch = self._on_device(self.scratch_bytes, stack)
        turns = [max(size_bytes(s.output) for s in segments[i::2]) for i in range(min(2, len(segments)))]
        self.tokens_bytes = sum(turns)
        buffers = [self._on_device(size, stack) for size in turns]
        tokens = {s.layer: buffers[i % 2] for i, s in enumerate(segments)}

        ends = [segments[0].input, *(u.output for u in self._units if u.kind == "branch")]
        places = np.cumsum([0, *(_padded(size_bytes(t)) for t in ends)]).tolist()
        self.ends_bytes = places[-1]
        host = cuda.allocate_host(self.ends_bytes, mapped=self.zero_copy)
        stack.callback(host.free)
        if not self.zero_copy:
            base = self._on_device(self.ends_bytes, stack)
        elif host.address is None:
            raise EngineError("CUDA gave page-locked memory without an address on the device; see: offramp doctor")
        else:
            base = _aligned(host.address)
        views = [_view(host.array[place:], tensor) for place, tensor in zip(places, ends, strict=False)]
        self.input: npt.NDArray[np.float32] = views[0]
        self._views: dict[int, npt.NDArray[Any]] = {}
        """What the host sees of each branch's output."""
        self.written = {
            i: [j for j, b in enumerate(self._units) if j == i or b.fused == u.name]
            for i, u in enumerate(self._units)
            if u.fused is None
        }
        """By unit with an engine, the units whose output its graph writes."""
        before = {b.layer: tokens[a.layer] for a, b in itertools.pairwise(segments)}
        self.sources: list[int] = []
        self.targets: list[int] = []
        for index, unit in enumerate(self._units):
            if unit.kind == "segment":
                self.sources.append(before.get(unit.layer, base))
                self.targets.append(tokens[unit.layer])
            else:
                self.sources.append(tokens[unit.layer])
                number = len(self._views) + 1
                self.targets.append(base + places[number])
                self._views[index] = views[number]

    def copy_in(self, unit: int) -> None:
        """Put the copy into the stream that the unit needs before it: the input for the first segment."""
        if unit == self._first and not self.zero_copy:
            self._cuda.copy_to_device(self.sources[unit], self.input)

    def copy_out(self, unit: int) -> None:
        """Put the copies into the stream that make the answers that a unit gives visible to the host."""
        for answer in self.written[unit]:
            if answer in self._views and not self.zero_copy:
                self._cuda.copy_to_host(self._views[answer], self.targets[answer])

    def output(self, unit: int) -> npt.NDArray[Any]:
        """A unit's output on the host: for a branch in place, for a segment a copy that is waited for."""
        if unit in self._views:
            return self._views[unit]
        tensor = self._units[unit].output
        copy = np.empty(tensor.shape, tensor.dtype)
        self._cuda.copy_to_host(copy, self.targets[unit])
        self._cuda.synchronize()
        return copy

    def spoil(self, unit: int) -> None:
        """Overwrite a unit's output everywhere, so that what is read next was written after this."""
        if unit in self._views:
            self._views[unit].view(np.uint8)[...] = 0xFF
        if unit not in self._views or not self.zero_copy:
            self._cuda.fill(self.targets[unit], 0xFF, size_bytes(self._units[unit].output))

    def _on_device(self, size: int, stack: contextlib.ExitStack) -> int:
        block = self._cuda.allocate(size)
        stack.callback(block.free)
        return _aligned(block.address)


def size_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor without gaps."""
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize


def in_order(units: tuple[Unit, ...]) -> list[int]:
    """All units so that each comes behind the segment it reads, and before that segment's buffer is used again."""
    return sorted(range(len(units)), key=lambda i: (units[i].layer, units[i].kind != "segment"))


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _aligned(address: int) -> int:
    if address % ALIGNMENT:
        raise EngineError(f"CUDA gave memory at {address:#x}, which is not aligned to {ALIGNMENT} bytes")
    return address


def _view(block: npt.NDArray[np.uint8], tensor: Tensor) -> npt.NDArray[Any]:
    return block[: size_bytes(tensor)].view(tensor.dtype).reshape(tensor.shape)
