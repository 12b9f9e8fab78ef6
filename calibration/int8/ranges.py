"""From a histogram of an activation's absolute values to the range that int8 shall hold: pure numpy.

A narrow range rounds finely and clips what is larger; a wide one clips nothing and rounds coarsely. The methods differ
in what they weigh:

| method | the range |
|---|---|
| minmax | the largest value seen: nothing is clipped |
| percentile | holds 99.99 % of the values |
| entropy | leaves the histogram least changed, by the Kullback-Leibler divergence (Migacz, GTC 2017) |
| mse | has the smallest expected squared error of rounding and clipping |
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from calibration.int8.graph import LEVELS
from calibration.int8.histogram import Histogram
from jetson.errors import BadInput

METHODS = ("minmax", "percentile", "entropy", "mse")
PERCENTILE = 99.99
ENTROPY_LEVELS = 128
"""Bins that are left of a range after rounding: its positive half, as int8 has it."""
EMPTY = 1e-4
"""Counts that the entropy method takes for a bin that is hit before rounding and not after. The talk leaves open what
to do; zero would make the divergence infinite, so that no value far away from the others would ever be clipped."""
Floats = npt.NDArray[np.float64]


def range_of(histogram: Histogram, method: str, percentile: float = PERCENTILE) -> float:
    """The symmetric range of a tensor.

    Args:
        histogram: of its absolute values.
        method: one of `METHODS`.
        percentile: share of the values that the method of this name holds, in percent.

    Returns:
        The largest absolute value to hold, in the tensor's own unit: the upper edge of a bin. 0 for a tensor that is
        zero throughout.

    Raises:
        BadInput: no such method, or a share that is none.
    """
    if not 0 < percentile <= 100:
        raise BadInput(f"a percentile of {percentile} cannot be had; give more than 0 and at most 100")
    find: dict[str, Callable[[Histogram], int]] = {
        "minmax": lambda h: len(h.counts),
        "percentile": lambda h: _percentile(h, percentile / 100),
        "entropy": _entropy,
        "mse": _mse,
    }
    if method not in find:
        raise BadInput(f"unknown method {method!r}; the methods are {', '.join(METHODS)}")
    if histogram.maximum == 0 or histogram.total == 0:
        return 0.0
    return float(histogram.edges[find[method](histogram)])


def _percentile(histogram: Histogram, share: float) -> int:
    held = np.cumsum(histogram.counts)
    return int(np.searchsorted(held, share * held[-1])) + 1


def _entropy(histogram: Histogram) -> int:
    bins = len(histogram.counts)
    if bins <= ENTROPY_LEVELS:
        return bins
    counts = histogram.counts.copy()
    # Zero is rounded to zero whatever the range: a heap of zeros must not draw the range towards itself.
    counts[0] = min(counts[0], counts[1])
    return min(range(ENTROPY_LEVELS, bins + 1), key=lambda kept: divergence(counts, kept))


def divergence(counts: npt.NDArray[np.int64], kept: int) -> float:
    """What is lost of a histogram when int8 holds its first bins.

    Args:
        counts: of all bins.
        kept: how many bins the range holds, at least `ENTROPY_LEVELS`; what lies beyond counts as the last of them.

    Returns:
        The divergence, in nats, of the rounded histogram from the clipped one; infinite when all is clipped.
    """
    inside = counts[:kept].astype(np.float64)
    if not inside.any():
        return float("inf")
    clipped = inside.copy()
    clipped[-1] += counts[kept:].sum()
    hit = clipped > 0
    starts = np.arange(ENTROPY_LEVELS) * kept // ENTROPY_LEVELS
    # Each level gives what fell into it back to those of its bins that were hit, in equal parts.
    parts = np.maximum(np.add.reduceat(hit, starts, dtype=np.int64), 1)
    level = np.repeat(np.add.reduceat(inside, starts) / parts, np.diff(np.append(starts, kept)))
    rounded = np.maximum(level[hit], EMPTY)
    p, q = clipped[hit] / clipped.sum(), rounded / rounded.sum()
    return float((p * np.log(p / q)).sum())


def _mse(histogram: Histogram) -> int:
    edges = histogram.edges
    density = histogram.counts / histogram.counts.sum()
    errors = [float(density @ mean_square(edges, threshold)) for threshold in edges[1:]]
    return int(np.argmin(errors)) + 1


def mean_square(edges: Floats, threshold: float) -> Floats:
    """The squared error of int8 in each bin, exact for values that are spread evenly inside it.

    Args:
        edges: of the bins, one more than there are bins; not negative.
        threshold: the range, above 0.

    Returns:
        By bin, the mean over its values.
    """
    step = threshold / LEVELS
    level = np.minimum(np.floor(edges / step + 0.5), LEVELS)
    # The integral of the squared error from zero: a twelfth of a cubed step for each level that is behind, and the
    # rest of this one. Beyond the last level the rest grows on: that is clipping.
    rest = edges - level * step
    integral = level * (step**3 / 12) + rest * rest * rest / 3
    found: Floats = np.diff(integral) / np.diff(edges)
    return found
