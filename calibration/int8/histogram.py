"""How often an activation has which absolute value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 2048
"""As many as the calibrator has that TensorRT's talk describes (Migacz, GTC 2017)."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of absolute values in bins of equal width between zero and the largest."""

    maximum: float
    """The largest absolute value; 0 for a tensor that is zero throughout, whose values are all in the first bin."""
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: npt.NDArray[Any], maximum: float | None = None, bins: int = BINS) -> Histogram:
        """Count values.

        Args:
            values: finite, of any shape and sign.
            maximum: the upper end of the last bin, which also takes what is larger; the values' own when None.
            bins: how many.
        """
        sizes = np.abs(values).ravel()
        if maximum is None:
            maximum = float(sizes.max(initial=0.0))
        if maximum == 0:
            places = np.zeros(sizes.shape, np.int64)
        else:
            # Scaled before anything is multiplied: a value near the end of float32 must not overflow.
            places = np.minimum(sizes / sizes.dtype.type(maximum) * bins, bins - 1).astype(np.int64)
        return cls(maximum, np.bincount(places, minlength=bins))

    def __add__(self, other: Histogram) -> Histogram:
        """Both together; they must have the same bins."""
        assert self.maximum == other.maximum and self.counts.shape == other.counts.shape
        return Histogram(self.maximum, self.counts + other.counts)

    @property
    def total(self) -> int:
        """How many values."""
        return int(self.counts.sum())

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Where the bins begin and end: one more than there are bins."""
        return np.linspace(0.0, self.maximum, len(self.counts) + 1)
