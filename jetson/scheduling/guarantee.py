"""A promised miss rate: how much shorter than it is time must be taken for, so that late answers stay that rare.

Learn then Test (Angelopoulos et al., arXiv:2110.01052) with a fixed sequence: factors are tried from the most careful
on, each by the upper Clopper-Pearson bound of its misses on paths drawn from the profile, and the last one before the
first that fails is kept. As many paths are drawn as the profile has measured rounds: more would pretend to know more.
"""

from __future__ import annotations

import math

import numpy as np

from jetson.errors import BudgetError
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.heldout import budgets_over, draw_latencies, walk
from jetson.scheduling.induction import Table
from jetson.scheduling.paths import Paths

CONFIDENCE = 0.95
"""With which the promise holds, over profiles."""
FACTORS = tuple(2.0 ** (4 * (1 - i / 32)) for i in range(33))
"""Tried in turn, 16 to 1."""
SEEDS = (1, 2, 3, 4, 5)
"""Of drawings of paths: the most careful factor of all is taken, so that no lucky drawing makes a promise."""


def upper_bound(misses: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson: with this confidence the true rate lies below it.

    Args:
        misses: seen,
        n: among so many, independent of one another.
        confidence: 0..1.
    """
    if misses >= n:
        return 1.0
    low, high = misses / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(misses, n, middle) > 1.0 - confidence else (low, middle)
    return high


def _at_most(misses: int, n: int, rate: float) -> float:
    """Probability of so many misses or fewer."""
    if rate <= 0.0:
        return 1.0
    ways = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(misses + 1)]
    terms = [w + k * math.log(rate) + (n - k) * math.log1p(-rate) for k, w in enumerate(ways)]
    top = max(terms)
    return min(1.0, math.exp(top) * sum(math.exp(t - top) for t in terms))


def rounds_for(miss_rate: float, confidence: float = CONFIDENCE) -> int:
    """Measured rounds that it takes at least to promise this."""
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-miss_rate))


def careful_factor(
    table: Table,
    paths: Paths,
    manifest: Manifest,
    profile: LatencyProfile,
    samples: Samples,
    miss_rate: float,
    confidence: float = CONFIDENCE,
) -> float:
    """The factor by which time is to be taken for shorter than it is.

    Args:
        table: that will decide.
        paths: of the bundle.
        manifest: of the bundle.
        profile: measured on this device.
        samples: held-out answers.
        miss_rate: to promise, of budgets that the quickest exit can meet.
        confidence: with which the promise is to hold.

    Raises:
        BudgetError: the promise is no share, or the profile has too few rounds for it, or shows too many misses.
    """
    if not 0.0 < miss_rate < 1.0:
        raise BudgetError(f"a promised miss rate lies between 0 and 1, not at {miss_rate!r}")
    names = [u.name for u in manifest.units]
    n = min(profile.units[name].end_to_end_ms.n for name in names)
    if n < rounds_for(miss_rate, confidence):
        raise BudgetError(
            f"a miss rate of {miss_rate:g} cannot be promised from a profile of {n} rounds, it takes "
            f"{rounds_for(miss_rate, confidence)}: offramp profile --rounds, with as many and time enough"
        )
    found = [
        factor
        for seed in SEEDS
        if (factor := _last_that_passes(table, paths, manifest, profile, samples, miss_rate, confidence, n, seed))
    ]
    if 2 * len(found) <= len(SEEDS):
        raise BudgetError(
            f"a miss rate of {miss_rate:g} cannot be promised on this device: its latencies spread too far for the "
            f"{n} rounds of the profile to show it; profile longer with nothing else running, or promise less"
        )
    return max(found)


def _last_that_passes(
    table: Table,
    paths: Paths,
    manifest: Manifest,
    profile: LatencyProfile,
    samples: Samples,
    miss_rate: float,
    confidence: float,
    n: int,
    seed: int,
) -> float | None:
    """The last factor before the first that fails, on one drawing of paths; None when the most careful one fails."""
    rng = np.random.default_rng(seed)
    latencies = draw_latencies(profile, [u.name for u in manifest.units], n, seed)
    frames = rng.integers(len(samples), size=n)
    quickest = _quickest(paths, latencies)
    budgets = budgets_over(profile, rng.permutation((np.arange(n) + 0.5) / n))
    can_be_met = budgets >= quickest
    found: float | None = None
    for factor in FACTORS:
        went = walk(table, paths, manifest, samples, frames, latencies, budgets, factor)
        misses = int((~went.in_time & can_be_met).sum())
        if upper_bound(misses, int(can_be_met.sum()), confidence) > miss_rate:
            break
        found = factor
    return found


def _quickest(paths: Paths, latencies: np.ndarray) -> np.ndarray:
    """(n,): the time to the first answer, on the way that is quickest."""
    segments = np.cumsum(latencies[:, list(paths.segments)], axis=1)
    ways = [segments[:, s - 1] + latencies[:, b] for s, b in zip(paths.stages, paths.branches, strict=True)]
    found: np.ndarray = np.min(ways, axis=0)
    return found
