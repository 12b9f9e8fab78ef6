"""Whether stated probabilities hold: the expected calibration error (Guo et al., arXiv:1706.04599, section 2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetson.beliefs import Reliability, ReliabilityBin

BINS = 15
"""Of equal width, as in the paper."""
DIGITS = 5


def reliability(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], split: str
) -> Reliability:
    """Hold what was stated against what came true.

    The error of a finite number of frames is above 0 even where every probability holds: by sqrt(2 / pi) times the
    standard deviation of the share of right answers, weighed over the bins; at most 0.4 sqrt(bins / n) for n frames.

    Args:
        before: (n,), of the plain softmax.
        after: (n,), of the posterior.
        right: (n,), whether the answer is right.
        split: name of the data's part, kept in the record.
    """
    bins_before, bins_after = _bins(before, right), _bins(after, right)
    return Reliability(
        split=split,
        n=len(right),
        before=_error(bins_before),
        after=_error(bins_after),
        bins_before=bins_before,
        bins_after=bins_after,
    )


def _bins(stated: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """The bins, each without its lower end and with its upper one."""
    place = np.clip(np.ceil(stated * BINS).astype(np.int64) - 1, 0, BINS - 1)
    n = np.bincount(place, minlength=BINS)
    filled = np.maximum(n, 1)
    means = np.bincount(place, stated, BINS) / filled, np.bincount(place, right, BINS) / filled
    return tuple(
        ReliabilityBin(
            low=round(i / BINS, DIGITS),
            high=round((i + 1) / BINS, DIGITS),
            n=int(n[i]),
            stated=round(float(means[0][i]), DIGITS),
            right=round(float(means[1][i]), DIGITS),
        )
        for i in range(BINS)
    )


def _error(bins: tuple[ReliabilityBin, ...]) -> float:
    return round(sum(b.n * abs(b.stated - b.right) for b in bins) / sum(b.n for b in bins), DIGITS)
