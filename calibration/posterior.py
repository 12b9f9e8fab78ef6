"""From an exit's score to the probability that its answer is right: logistic models (Platt 1999), one pair per exit.

The models see the score as the runtime does, and what may be in hand then: any earlier exit, seen alone or at the end
of the whole chain before. All of these are pooled, so that one model holds for each.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from jetson.beliefs import Posterior
from jetson.confidence import LIMIT
from jetson.errors import missing_extra

Array = npt.NDArray[np.float64]

SPREAD_ALONE = 0.2
"""Standard deviation of the weights around those of the plain score, before any frame is seen: a temperature leaves
little to correct, and a few dozen frames would correct it wrongly."""
SPREAD_JOINED = 0.6
"""The same around the weights without an answer in hand."""
DIGITS = 6
"""Of a weight in the manifest."""


def fit_posteriors(said: Array, classes: npt.NDArray[np.int64], right: npt.NDArray[np.bool_]) -> tuple[Posterior, ...]:
    """The posterior of every exit, from held-out frames that no later judgement uses.

    Args:
        said: (n, exits), logit of the largest softmax at the exit's temperature, as `jetson.confidence` gives it.
        classes: (n, exits), the class each exit names.
        right: (n, exits), whether that is the frame's class.

    Returns:
        One record per exit, finite whatever the data. On these frames none has a higher log loss than the best
        constant; an exit that is right on all n, or on none, is held against (n + 1) / (n + 2), or 1 / (n + 2).
    """
    found: list[Posterior] = []
    ones, alone, chain = np.ones(len(said)), np.empty_like(said), np.empty(len(said))
    for k in range(said.shape[1]):
        plain = np.stack([ones, said[:, k]], axis=1)
        bias, score = _fit(plain[None], np.ones(1), right[:, k], (0.0, 1.0), SPREAD_ALONE)
        alone[:, k] = predict(plain, (bias, score))
        if k == 0:
            chain = alone[:, 0]
            found.append(Posterior(alone=(bias, score), joined=None))
            continue
        ways = [(alone[:, j], classes[:, j]) for j in range(k)] + [(chain, classes[:, k - 1])]
        features = np.stack([joined_features(said[:, k], p, c == classes[:, k]) for p, c in ways])
        # Half for the chain, half for the pairs: there are many pairs, and an unknown budget takes the chain.
        shares = np.array([0.5 / k] * k + [0.5])
        weights = _fit(features, shares, right[:, k], (bias, score, 0.0, 0.0), SPREAD_JOINED)
        chain = predict(features[-1], weights)
        found.append(Posterior(alone=(bias, score), joined=(weights[0], weights[1], weights[2], weights[3])))
    return tuple(found)


def joined_features(said: Array, before: Array, same: npt.NDArray[np.bool_]) -> Array:
    """What the weights of `Posterior.joined` are multiplied with.

    Args:
        said: (n,), logit of the exit's score.
        before: (n,), logit of the posterior of the answer in hand.
        same: (n,), whether both name the same class.

    Returns:
        (n, 4), in the order of the weights.
    """
    return np.stack([np.ones_like(said), said, np.where(same, before, -before), same.astype(np.float64)], axis=1)


def predict(features: Array, weights: tuple[float, ...]) -> Array:
    """(n,), logits of the posterior from (n, weights) features."""
    found: Array = np.clip(features @ np.array(weights), -LIMIT, LIMIT)
    return found


def _fit(
    features: Array, shares: Array, right: npt.NDArray[np.bool_], centre: tuple[float, ...], spread: float
) -> tuple[float, ...]:
    """The weights of one model.

    Args:
        features: (ways, n, weights): the same frames with each answer that may be in hand.
        shares: (ways,), summing to 1: how much each way counts.
        right: (n,).
        centre: where the weights are believed to be before any frame is seen.
        spread: standard deviation of that belief.
    """
    try:
        from scipy.optimize import minimize
        from scipy.special import expit
    except ImportError:
        raise missing_extra("scipy", "host") from None
    n, positives = len(right), int(right.sum())
    # Platt's targets: that all of n frames were right does not mean that the next one will be.
    targets = np.where(right, (positives + 1) / (positives + 2), 1 / (n - positives + 2))
    middle, stiffness = np.array(centre), 1.0 / (spread**2 * n)

    def loss(weights: Array) -> tuple[float, Array]:
        logits = features @ weights
        value = shares @ (np.logaddexp(0.0, logits) - targets * logits).mean(axis=1)
        slope = np.einsum("w,wn,wnf->f", shares, expit(logits) - targets, features) / n
        away = weights - middle
        return float(value + 0.5 * stiffness * (away @ away)), slope + stiffness * away

    # A surer score, or a surer answer in hand that agrees, must never count against an answer.
    bounds = [(None, None), (0.0, None), (0.0, None), (None, None)][: len(centre)]
    done = minimize(loss, middle, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-8})
    weights = tuple(round(float(w), DIGITS) for w in done.x)
    share = positives / n if 0 < positives < n else (positives + 1) / (n + 2)
    constant = (math.log(share / (1 - share)), *[0.0] * (len(centre) - 1))
    return min(weights, constant, key=lambda w: float(shares @ [_log_loss(predict(x, w), right) for x in features]))


def _log_loss(logits: Array, right: npt.NDArray[np.bool_]) -> float:
    return float((np.logaddexp(0.0, logits) - right * logits).mean())
