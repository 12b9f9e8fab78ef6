"""What each exit is worth on held-out data: accuracy or error, with its interval."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError, missing_extra
from jetson.manifest import Quality

LEVEL = 0.95
RESAMPLES = 2000
CLASS_DIGITS = 5
"""Of a class's share; a manifest may hold a thousand classes for every exit and split."""


def accuracy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], split: str) -> Quality:
    """Share of frames whose largest logit is the label's, with a Wilson interval, and each class's own share.

    Args:
        logits: (n, classes).
        labels: (n,), class numbers.
        split: name of the data's part, kept in the record.

    Raises:
        DataError: no frames, or a label that is no class.
    """
    try:
        from scipy.stats import binomtest
    except ImportError:
        raise missing_extra("scipy", "host") from None
    n = len(labels)
    if n == 0:
        raise DataError(f"the {split} split is empty; an exit's quality needs held-out data")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(f"the {split} split has labels outside 0..{logits.shape[1] - 1}")
    hits = logits.argmax(axis=1) == labels
    right = int(hits.sum())
    frames = np.bincount(labels, minlength=logits.shape[1])
    recall = np.where(frames > 0, np.bincount(labels, hits, logits.shape[1]) / np.maximum(frames, 1), -1.0)
    interval = binomtest(right, n).proportion_ci(LEVEL, "wilson")
    return Quality(
        metric="accuracy",
        value=right / n,
        low=float(interval.low),
        high=float(interval.high),
        level=LEVEL,
        n=n,
        split=split,
        per_class=tuple(round(float(r), CLASS_DIGITS) for r in recall),
    )


def mean_absolute_error(values: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], split: str) -> Quality:
    """Mean absolute error over frames and outputs, with a percentile bootstrap interval over frames.

    Args:
        values: (n, outputs).
        targets: (n, outputs).
        split: name of the data's part, kept in the record.

    Raises:
        DataError: no frames, or targets of another shape.
    """
    if len(values) == 0:
        raise DataError(f"the {split} split is empty; an exit's quality needs held-out data")
    if values.shape != targets.shape:
        raise DataError(
            f"the {split} split has targets of shape {targets.shape[1:]}, the model gives {values.shape[1:]}"
        )
    errors = np.abs(values.astype(np.float64) - targets).mean(axis=1)
    rng = np.random.default_rng(0)
    means = [errors[rng.integers(0, len(errors), len(errors))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Quality(
        metric="mean_absolute_error",
        value=float(errors.mean()),
        low=float(low),
        high=float(high),
        level=LEVEL,
        n=len(errors),
        split=split,
    )
