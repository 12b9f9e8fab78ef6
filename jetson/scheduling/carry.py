"""What a policy that takes over from another, because the power mode has changed, keeps of what that one learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetson.scheduling.learning import reach_ms
from jetson.scheduling.memory import AFTER, BEFORE_MS, CUT_BINS, CUTS, FRAMES, RATIO_BINS, RATIOS, SIZE
from jetson.scheduling.ruled import Ruled
from jetson.scheduling.rules import PLANNER


def carry_over(before: Ruled, after: Ruled) -> None:
    """Give a policy what its predecessor learnt of budgets; nothing of what it learnt of the device.

    Budgets are the user's and go on as they were: how often and by how much they are revised, when those end that
    nobody tells. The slowdown was measured against another profile, the stalls and the cost of pauses at other clocks,
    and a promise is kept by how late answers are here: all of that begins anew. The filter follows within two units.
    """
    old, new = before.memory, after.memory
    new[FRAMES : RATIOS + RATIO_BINS] = old[FRAMES : RATIOS + RATIO_BINS]
    new[BEFORE_MS] = old[BEFORE_MS]
    if before.rules.kind != PLANNER or after.rules.kind != PLANNER:
        return
    # Moments were counted in the time of the old profile.
    scale = reach_ms(before.rules) / reach_ms(after.rules)
    for place in (*range(CUTS, CUTS + 2 * CUT_BINS, CUT_BINS), *range(AFTER, SIZE, CUT_BINS)):
        new[place : place + CUT_BINS] = _stretched(old[place : place + CUT_BINS], scale)


def _stretched(counts: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.float64]:
    """A histogram over as many bins that are each of another width; what lies beyond the last counts there."""
    centres = (np.arange(CUT_BINS) + 0.5) * scale
    places = np.minimum(centres.astype(np.int64), CUT_BINS - 1)
    return np.bincount(places, counts, CUT_BINS).astype(np.float64)
