"""How sure an exit may be: temperature scaling (Guo et al., arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError, missing_extra

LOG_RANGE = (-3.0, 3.0)
"""Bounds of the logarithm of the temperature."""
SPREAD = 1.0
"""Standard deviation that the logarithm is given before any frame is seen. Frames that are all answered rightly would
want a temperature of 0, at which every score is 1 and tells nothing; this holds it where they stop to matter."""


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """The most probable temperature: of highest likelihood, but for a prior that weighs about as much as one frame.

    Args:
        logits: (n, classes) on held-out frames.
        labels: (n,), class numbers.

    Returns:
        A factor to divide logits by before the softmax; above 1 the exit was too sure of itself.

    Raises:
        DataError: no frames, NaN or infinite logits, or a label that is no class.
    """
    try:
        from scipy.optimize import minimize_scalar
    except ImportError:
        raise missing_extra("scipy", "host") from None
    if len(labels) == 0:
        raise DataError("there are no frames to fit a temperature to")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(f"a temperature cannot be fitted to labels outside 0..{logits.shape[1] - 1}")
    lost = int((~np.isfinite(logits).all(axis=1)).sum())
    if lost:
        raise DataError(
            f"{lost} of {len(logits)} frames have NaN or infinite logits; look for broken frames among them, "
            "or for weights that overflow, and mend those first"
        )
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    right = scores[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        log_sum = np.log(np.exp(scores / temperature).sum(axis=1))
        prior = 0.5 * (log_temperature / SPREAD) ** 2
        return float((log_sum - right / temperature).mean() + prior / len(labels))

    return float(np.exp(minimize_scalar(loss, bounds=LOG_RANGE, method="bounded").x))
