"""Resizing: bilinear with a triangle as wide as the shrinking, so that it does not alias.

Along each axis a target pixel is a weighted sum of neighbours, and some neighbouring targets together are one small
matrix product: rows first, which are contiguous for a camera's interleaved channels, then columns of separate channels.
A tile at a time, so that what goes from one step to the next stays in the processor's cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
MAX_SIZES = 64
"""Weights are kept for so many frame sizes; a stream of images of ever new sizes must not fill the memory."""
GROUPS = (64, 32, 16)
"""Target rows that are made together: the first that one tile gives, else the last,"""
ROWS = 4
"""so many of them in one product,"""
COLUMNS = 16
"""and then their columns, so many in one product; fewer where shrinking makes the products large."""
TILE = 1 << 18
"""Source values that are made float at a time: 1 MiB."""
ALONE = 1 << 18
"""OpenBLAS forms products of up to so many multiplications in the calling thread. Larger ones would wake threads of
its own, which then fight the engine's for the cores."""


class Band(NamedTuple):
    """Neighbouring targets and the sources that they are made of."""

    start: int
    stop: int
    """Of the targets,"""
    first: int
    last: int
    """and of the sources."""
    weights: Floats
    """Targets x sources."""


class Group(NamedTuple):
    """Target rows that are made together."""

    start: int
    stop: int
    first: int
    last: int
    tile: int
    """Source columns at a time."""
    rows: tuple[Band, ...]
    """Counted from `start` and `first`."""


class Plan(NamedTuple):
    """How frames of one size are resized."""

    groups: tuple[Group, ...]
    columns: tuple[Band, ...]
    """Weights transposed."""
    scratch: tuple[int, int, int, int]
    """Values of each of the buffers."""


class Resizer:
    """Resizes frames to one size. Memory is kept from frame to frame; one call at a time."""

    def __init__(self, height: int, width: int) -> None:
        self._size = height, width
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._scratch = [np.empty(0, np.float32) for _ in range(4)]

    def __call__(self, image: npt.NDArray[np.uint8], scale: Floats, shift: Floats, out: Floats) -> None:
        """Resize one frame, and normalise it.

        Args:
            image: height x width x channels.
            scale: what the result is multiplied by, channels x 1 x 1.
            shift: what is then added, channels x 1 x 1.
            out: where to write, channels x height x width; a grey image may go to several channels.
        """
        plan = self._plan_for(image.shape)
        _, width, channels = image.shape
        target = self._size[1]
        tiles, sums, planes, ends = self._scratch
        for start, stop, first, last, tile, rows in plan.groups:
            made = stop - start
            tall = planes[: channels * made * width].reshape(channels, made, width)
            for left in range(0, width, tile):
                right = min(left + tile, width)
                values = (right - left) * channels
                source = tiles[: (last - first) * values].reshape(last - first, right - left, channels)
                np.copyto(source, image[first:last, left:right])
                flat = source.reshape(last - first, values)
                summed = sums[: made * values].reshape(made, values)
                for band in rows:
                    np.matmul(band.weights, flat[band.first : band.last], out=summed[band.start : band.stop])
                tall[:, :, left:right] = summed.reshape(made, right - left, channels).transpose(2, 0, 1)
            lines = tall.reshape(channels * made, width)
            small = ends[: channels * made * target].reshape(channels * made, target)
            for band in plan.columns:
                np.matmul(lines[:, band.first : band.last], band.weights, out=small[:, band.start : band.stop])
            part = out[:, start:stop]
            np.multiply(small.reshape(channels, made, target), scale, out=part)
            part += shift

    def _plan_for(self, shape: tuple[int, ...]) -> Plan:
        plan = self._plans.get(shape)
        if plan is None:
            if len(self._plans) >= MAX_SIZES:
                self._plans.clear()
            plan = self._plans[shape] = plan_of(shape, self._size)
            pairs = zip(self._scratch, plan.scratch, strict=True)
            self._scratch = [kept if kept.size >= needed else np.empty(needed, np.float32) for kept, needed in pairs]
        return plan


def plan_of(shape: tuple[int, ...], size: tuple[int, int]) -> Plan:
    """How frames of one size are resized.

    Args:
        shape: height, width and channels of the frames.
        size: height and width to make of them.
    """
    height, width, channels = shape
    groups = []
    bands = bands_of(height, size[0], ROWS)
    line = width * channels * height / size[0]
    together = next((g for g in GROUPS if g * line <= TILE), GROUPS[-1])
    for start in range(0, size[0], together):
        mine = [b for b in bands if start <= b.start < start + together]
        first, last = mine[0].first, max(b.last for b in mine)
        tile = min(TILE // ((last - first) * channels), ALONE // (max(b.weights.size for b in mine) * channels), width)
        rows = tuple(Band(b.start - start, b.stop - start, b.first - first, b.last - first, b.weights) for b in mine)
        groups.append(Group(start, mine[-1].stop, first, last, max(tile, 1), rows))
    lines, step = channels * min(together, size[0]), COLUMNS
    columns = bands_of(width, size[1], step)
    while step > 1 and lines * max(b.weights.size for b in columns) > ALONE:
        step //= 2
        columns = bands_of(width, size[1], step)
    scratch = (
        max((g.last - g.first) * g.tile for g in groups) * channels,
        max((g.stop - g.start) * g.tile for g in groups) * channels,
        lines * width,
        lines * size[1],
    )
    turned = (b._replace(weights=np.ascontiguousarray(b.weights.T)) for b in columns)
    return Plan(tuple(groups), tuple(turned), scratch)


def bands_of(source: int, target: int, step: int) -> list[Band]:
    """One axis, `step` targets a band.

    Args:
        source: pixels.
        target: pixels.
        step: targets to take together.
    """
    index, weights = taps_of(source, target)
    found = []
    for start in range(0, target, step):
        stop = min(start + step, target)
        used = weights[start:stop] > 0.0
        sources, (places, _) = index[start:stop][used], np.nonzero(used)
        first, last = int(sources.min()), int(sources.max()) + 1
        matrix = np.zeros((stop - start, last - first), np.float32)
        matrix[places, sources - first] = weights[start:stop][used]
        found.append(Band(start, stop, first, last, matrix))
    return found


def taps_of(source: int, target: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """Which source pixels make each target pixel, and their weights: two arrays (target, taps)."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    taps = int(np.ceil(reach)) * 2 + 1
    index = np.floor(centres)[:, None].astype(np.intp) + np.arange(taps) - taps // 2
    weights = np.maximum(0.0, 1.0 - np.abs(index - centres[:, None]) / reach)
    weights[(index < 0) | (index >= source)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(index, 0, source - 1), weights.astype(np.float32)
