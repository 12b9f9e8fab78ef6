"""What one exit's answer tells of all exits: a table that a planner reads to decide whether going on pays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetson.beliefs import Joint

BUCKETS = 8
"""At most, per exit."""
FRAMES = 20
"""At least, per bucket: an accuracy of 20 frames is known to about a tenth."""
EDGE_DIGITS = 3
"""At least; as many as it takes to part the frames."""
VALUE_DIGITS = 4


def joint(said: npt.NDArray[np.float64], worth: npt.NDArray[np.float64], split: str) -> Joint:
    """Sort frames by what each exit said, and look how good all exits were on each sort.

    Args:
        said: (n, exits): the posterior with no answer in hand, or in regression the first output.
        worth: (n, exits): 1 for right and 0 for wrong, or in regression the absolute error.
        split: name of the data's part, kept in the record.
    """
    edges, counts, values = [], [], []
    for own in said.T:
        found = _edges(own)
        bucket = np.searchsorted(found, own, side="right")
        n = np.bincount(bucket, minlength=len(found) + 1)
        means = [worth[bucket == b].mean(axis=0) for b in range(len(n))]
        edges.append(tuple(found))
        counts.append(tuple(n.tolist()))
        values.append(tuple(tuple(_short(v, VALUE_DIGITS) for v in row) for row in means))
    return Joint(split=split, edges=tuple(edges), n=tuple(counts), value=tuple(values))


def _edges(said: npt.NDArray[np.float64]) -> list[float]:
    """Edges between buckets of about equally many frames, none smaller than `FRAMES`.

    Frames of one value are never parted, so with ties there may be fewer buckets.
    """
    ordered = np.sort(said)
    total = len(ordered)
    buckets = min(BUCKETS, total // FRAMES)
    edges: list[float] = []
    begin = 0
    for i in range(1, buckets):
        end = int(np.searchsorted(ordered, ordered[total * i // buckets], side="left"))
        if min(end - begin, total - end) >= FRAMES:
            edges.append(_between(float(ordered[end - 1]), float(ordered[end])))
            begin = end
    return edges


def _between(low: float, high: float) -> float:
    """A number of few digits above `low` and not above `high`."""
    for digits in range(EDGE_DIGITS, 17):
        found = _short((low + high) / 2, digits)
        if low < found <= high:
            return found
    return high


def _short(value: float, digits: int) -> float:
    """The value in so many significant digits."""
    return float(f"{value:.{digits}g}")
