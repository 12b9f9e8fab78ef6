"""How sure an answer may be: the probability that it is right, from an exit's scores and the answer in hand.

The runtime asks this at every exit. calibration/ judges exits with the same function, frame by frame, so that what was
measured there holds here to the last bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.beliefs import Posterior

CLIP = 1e-6
"""No probability is taken for nearer to 0 or 1 than this: held-out data cannot tell more, and logits stay finite."""
LIMIT = math.log((1.0 - CLIP) / CLIP)
FEW = 128
"""Up to so many classes plain Python is quicker than NumPy: after a unit has run the caches are cold, and a call into
NumPy has to bring in much more code than it then runs."""


class Belief(NamedTuple):
    """The class that an exit names, and how sure one may be of it."""

    class_index: int
    confidence: float
    """Probability that the class is right, given this exit's scores and what was in hand before."""
    logit: float
    """Of `confidence`, within `LIMIT` of 0."""
    alone: float
    """The confidence as it would be with nothing in hand: what `Joint` sorts frames by."""


def believe(
    output: npt.NDArray[np.float32],
    temperature: float,
    posterior: Posterior | None = None,
    before: Belief | None = None,
) -> Belief:
    """What to believe of an exit's answer. `Posterior` has the formula; a call takes microseconds.

    Args:
        output: (classes,), logits, all finite.
        temperature: of the exit.
        posterior: of the exit; without one the softmax at its temperature says how sure the answer is.
        before: of the answer in hand, which must come from an earlier exit; None when nothing is in hand.
    """
    class_index, share = _named(output, temperature)
    said = logit(share)
    if posterior is None:
        return Belief(class_index, share, said, share)
    bias, score = posterior.alone
    own = _within(bias + score * said)
    alone = _probability(own)
    if before is None or posterior.joined is None:
        return Belief(class_index, alone, own, alone)
    bias, score, weight, agrees = posterior.joined
    backing = agrees + weight * before.logit if class_index == before.class_index else -weight * before.logit
    together = _within(bias + score * said + backing)
    return Belief(class_index, _probability(together), together, alone)


def all_finite(output: npt.NDArray[np.float32]) -> bool:
    """Whether these logits or values, (outputs,), can be believed at all."""
    if output.shape[0] <= FEW:
        return all(map(math.isfinite, output.tolist()))
    return bool(np.isfinite(output).all())


def _named(output: npt.NDArray[np.float32], temperature: float) -> tuple[int, float]:
    """The class with the largest logit, the first of equal ones, and its softmax."""
    if output.shape[0] <= FEW:
        values = output.tolist()
        largest = max(values)
        total = 0.0
        for value in values:
            total += math.exp((value - largest) / temperature)
        return values.index(largest), 1.0 / total
    class_index = int(output.argmax())
    # float32 ends 6e-8 below 1, where the logit needs the distance to 1, and a difference of logits may exceed it.
    scaled = output.astype(np.float64)
    scaled -= scaled[class_index]
    scaled /= temperature
    np.exp(scaled, out=scaled)
    return class_index, 1.0 / float(np.add.reduce(scaled))


def scores(
    outputs: npt.NDArray[np.float32], temperature: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """What `believe` gives without a posterior, of many frames at once.

    Args:
        outputs: (n, classes), logits, all finite.
        temperature: of the exit.

    Returns:
        The class of each frame, and the logit of its softmax: (n,) each.
    """
    class_index = outputs.argmax(axis=1)
    scaled = outputs.astype(np.float64)
    scaled -= np.take_along_axis(scaled, class_index[:, None], axis=1)
    scaled /= temperature
    share = 1.0 / np.exp(scaled, out=scaled).sum(axis=1)
    inside = np.clip(share, CLIP, 1.0 - CLIP)
    return class_index, np.where(share >= 1.0 - CLIP, LIMIT, np.log(inside / (1.0 - inside)))


def posterior_logits(
    score: npt.NDArray[np.floating],
    class_index: npt.NDArray[np.integer],
    posterior: Posterior | None,
    before_logit: npt.NDArray[np.floating] | None = None,
    before_class: npt.NDArray[np.integer] | None = None,
) -> npt.NDArray[np.float64]:
    """The logits that `believe` gives, of many frames at once.

    Args:
        score: (n,), the exit's, as `scores` gives them.
        class_index: (n,), the classes that it names.
        posterior: of the exit; without one the score is all there is.
        before_logit: (n,), of the answers in hand; None when nothing is in hand.
        before_class: (n,), the classes that those name.
    """
    said = score.astype(np.float64)
    if posterior is None:
        return said
    if before_logit is None or before_class is None or posterior.joined is None:
        bias, slope = posterior.alone
        return np.clip(bias + slope * said, -LIMIT, LIMIT)
    bias, slope, weight, agrees = posterior.joined
    backing = weight * before_logit.astype(np.float64)
    backing = np.where(class_index == before_class, agrees + backing, -backing)
    return np.clip(bias + slope * said + backing, -LIMIT, LIMIT)


def logit(probability: float) -> float:
    """The logarithm of the odds, of a probability that is clipped at `CLIP` from 0 and 1."""
    if probability >= 1.0 - CLIP:
        return LIMIT
    return math.log(probability / (1.0 - probability)) if probability > CLIP else -LIMIT


def _within(value: float) -> float:
    return min(max(value, -LIMIT), LIMIT)


def _probability(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))
