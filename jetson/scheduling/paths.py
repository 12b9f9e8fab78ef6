"""What lies ahead at each boundary: the exits still to be had, and how long the way to each may take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile

SAMPLES = 4096


@dataclass(frozen=True)
class Paths:
    """The units of a bundle as the scheduler sees them. Exits and units count from 0, stages are segments run."""

    segments: tuple[int, ...]
    """Unit index of each segment."""
    branches: tuple[int, ...]
    """Unit index of each exit's branch."""
    stages: tuple[int, ...]
    """How many segments each exit needs."""
    quality: tuple[float, ...]
    """What each exit is worth, higher is better; errors enter negated."""

    @classmethod
    def of(cls, manifest: Manifest) -> Paths:
        """Read the paths off a manifest."""
        index = {unit.name: i for i, unit in enumerate(manifest.units)}
        sign = 1.0 if manifest.task == "classification" else -1.0
        return cls(
            segments=tuple(index[s.name] for s in manifest.segments),
            branches=tuple(index[e.units[-1]] for e in manifest.exits),
            stages=tuple(len(e.units) - 1 for e in manifest.exits),
            quality=tuple(sign * e.quality[0].value for e in manifest.exits),
        )


def remaining_quantiles(
    paths: Paths, profile: LatencyProfile, names: list[str], level: float
) -> npt.NDArray[np.float64]:
    """The `level` quantile of the time from each boundary to each exit's answer, in milliseconds.

    Units are taken as independent once the slowdown they share is divided out; sums are formed by sampling each
    unit's distribution at the same number of stratified points, shuffled apart with a fixed seed.

    Args:
        paths: the bundle's paths.
        profile: measured latencies.
        names: unit names by index.
        level: 0..1.

    Returns:
        (stages + 1, exits); infinite where an exit lies behind the boundary.
    """
    rng = np.random.default_rng(0)
    points = (np.arange(SAMPLES) + 0.5) / SAMPLES
    draws = [rng.permutation(profile.units[n].end_to_end_ms.quantile(points)) for n in names]
    table = np.full((len(paths.segments) + 1, len(paths.branches)), np.inf)
    for exit_, (branch, needs) in enumerate(zip(paths.branches, paths.stages, strict=True)):
        total = draws[branch].copy()
        table[needs, exit_] = np.quantile(total, level)
        for stage in range(needs - 1, -1, -1):
            total += draws[paths.segments[stage]]
            table[stage, exit_] = np.quantile(total, level)
    return table
