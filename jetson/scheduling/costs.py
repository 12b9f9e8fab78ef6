"""What units take, as distributions on a grid of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.profiling.profile import LEVELS, LatencyProfile, Sketch
from jetson.scheduling.paths import Paths

POINTS = 1024
"""Of the grid of time."""
ROOM = 1.15
"""The grid reaches so many times as far as all units take together at their 95 % quantile."""


class Kernel(NamedTuple):
    """The distribution of one unit's time on the grid."""

    steps: tuple[int, ...]
    shares: tuple[float, ...]
    cost_ms: float
    """Its mean."""


@dataclass(frozen=True)
class Costs:
    """What units take, on the grid."""

    step_ms: float
    segments: tuple[Kernel, ...]
    branches: tuple[Kernel, ...]
    points: int = POINTS

    @classmethod
    def of(cls, paths: Paths, profile: LatencyProfile, names: Sequence[str], points: int = POINTS) -> Costs:
        """From measured latencies.

        Args:
            paths: the bundle's paths.
            profile: measured on this device.
            names: of the units, by index.
            points: of the grid.
        """
        sketches = [profile.units[name].end_to_end_ms for name in names]
        step = max(ROOM * sum(float(s.quantile(0.95)) for s in sketches) / points, 1e-9)
        kernels = [kernel(s, step) for s in sketches]
        return cls(step, tuple(kernels[i] for i in paths.segments), tuple(kernels[i] for i in paths.branches), points)


def kernel(sketch: Sketch, step_ms: float) -> Kernel:
    """Put a measured distribution on a grid, each share split between the points on both sides of it."""
    levels, times = mid_quantiles(sketch)
    found: dict[int, float] = {}
    for share, time in zip(levels, times, strict=True):
        place = time / step_ms
        low = int(place)
        found[low] = found.get(low, 0.0) + share * (1.0 - (place - low))
        found[low + 1] = found.get(low + 1, 0.0) + share * (place - low)
    used = sorted(s for s, share in found.items() if share > 0.0)
    return Kernel(tuple(used), tuple(found[s] for s in used), float(np.dot(levels, times)))


def stalling(costs: Costs, per_ms: float, stall_ms: float) -> Costs:
    """The same units on a device that also stalls: so often per millisecond, for half to half as much again of a time.

    Args:
        costs: of the units.
        per_ms: stalls per millisecond of a unit's own time.
        stall_ms: what a stall takes on average.
    """
    sizes = [max(round(f * stall_ms / costs.step_ms), 1) for f in (0.5, 1.0, 1.5)]

    def with_stalls(unit: Kernel) -> Kernel:
        chance = -math.expm1(-per_ms * unit.cost_ms)
        found: dict[int, float] = {}
        for step, share in zip(unit.steps, unit.shares, strict=True):
            found[step] = found.get(step, 0.0) + share * (1.0 - chance)
            for size in sizes:
                found[step + size] = found.get(step + size, 0.0) + share * chance / len(sizes)
        used = sorted(found)
        return Kernel(tuple(used), tuple(found[s] for s in used), unit.cost_ms + chance * stall_ms)

    segments, branches = (tuple(with_stalls(u) for u in units) for units in (costs.segments, costs.branches))
    return Costs(costs.step_ms, segments, branches, costs.points)


def mid_quantiles(sketch: Sketch) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A sketch as shares and the time of each: between two of its levels, the middle of their quantiles."""
    bounds = np.array([0.0, *LEVELS, 1.0])
    values = np.array([sketch.quantiles[0], *sketch.quantiles, sketch.quantiles[-1]])
    return np.diff(bounds), (values[1:] + values[:-1]) / 2
