"""How far off an exit's values may be: split conformal prediction (Lei et al. 2018, doi:10.1080/01621459.2017.1307116).

The interval holds with the stated probability for any model and any distribution, as long as frames on the device are
drawn as the held-out ones were; on average over such draws, not for each kind of frame.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from jetson.beliefs import Interval
from jetson.errors import DataError

LEVEL = 0.9


def interval(
    values: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], split: str, level: float = LEVEL
) -> Interval:
    """The ceil((n + 1) level)-th smallest absolute residual of each output.

    Args:
        values: (n, outputs), of frames that the model was not trained on.
        targets: (n, outputs).
        split: name of the data's part, kept in the record.
        level: probability that a target lies in its interval; of each output for itself.

    Raises:
        DataError: too few frames for the level, targets of another shape, or values that are no numbers.
    """
    if values.shape != targets.shape:
        raise DataError(f"the {split} split has targets of shape {targets.shape}, the model gives {values.shape}")
    n = len(values)
    # Rounded first: 0.9 times a whole number may come out a hair above the whole number that it is.
    rank = math.ceil(round((n + 1) * level, 9))
    if rank > n:
        need = math.ceil(round(level / (1 - level), 9))
        raise DataError(f"an interval of {level:.0%} needs at least {need} held-out frames; the {split} split has {n}")
    residuals = np.abs(values.astype(np.float64) - targets)
    if not np.isfinite(residuals).all():
        raise DataError(f"the {split} split has NaN or infinite values; look at its targets and at the model's output")
    widths = np.partition(residuals, rank - 1, axis=0)[rank - 1]
    return Interval(level=level, half_width=tuple(float(w) for w in widths), n=n, split=split)
