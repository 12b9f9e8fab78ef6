"""How sure an exit may be: temperature scaling (Guo et al., arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError, missing_extra

LOG_RANGE = (-3.0, 3.0)
"""Bounds of the logarithm of the temperature."""


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """The temperature that gives the labels the highest likelihood.

    Args:
        logits: (n, classes) on held-out frames.
        labels: (n,), class numbers.

    Returns:
        A factor to divide logits by before the softmax; above 1 the exit was too sure of itself.

    Raises:
        DataError: no frames, or a label that is no class.
    """
    try:
        from scipy.optimize import minimize_scalar
    except ImportError:
        raise missing_extra("scipy", "host") from None
    if len(labels) == 0:
        raise DataError("there are no frames to fit a temperature to")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(f"a temperature cannot be fitted to labels outside 0..{logits.shape[1] - 1}")
    scores = logits.astype(np.float64)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        peak = scaled.max(axis=1)
        log_sum = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=1))
        return float((log_sum - scaled[rows, labels]).mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_RANGE, method="bounded").x))
