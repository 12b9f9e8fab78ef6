"""What a bundle believes about its exits beyond their quality: how sure an answer may be, and what it says of others.

Records of the manifest, written by calibration/ from held-out data. `fit` and `select` are the two halves of the
calibration part: what is fitted here is fitted on `fit` and judged on `select`, and `test` is only reported.
"""

from __future__ import annotations

from jetson.record import Record

HELD_OUT = ("fit", "select", "test")
"""The roles of frames that the model was not trained on."""


class ReliabilityBin(Record, frozen=True, kw_only=True):
    """Frames whose stated probability lies in one range."""

    low: float
    high: float
    n: int
    stated: float
    """Mean of the probabilities stated; 0 without frames."""
    right: float
    """Share of the frames answered rightly; 0 without frames."""


class Reliability(Record, frozen=True, kw_only=True):
    """How far stated probabilities are from how often the answer is right, on one split."""

    split: str
    n: int
    before: float
    """Expected calibration error of the plain softmax (Guo et al., arXiv:1706.04599)."""
    after: float
    """The same of the posterior."""
    bins_before: tuple[ReliabilityBin, ...]
    bins_after: tuple[ReliabilityBin, ...]


class Posterior(Record, frozen=True, kw_only=True):
    """The probability that an exit's answer is right, given its score and what the answer in hand led to believe.

    With s the largest probability of the softmax at the exit's temperature and p the posterior of the answer in hand:

        logit(posterior) = bias + score * logit(s)                                      with no answer in hand
        logit(posterior) = bias + score * logit(s) + agrees + before * logit(p)         it named the same class
        logit(posterior) = bias + score * logit(s)          - before * logit(p)         it named another class

    The sign turns because two answers that differ are not both right: the surer the other was, the less this one may
    be. Probabilities are kept 1e-6 from 0 and 1. jetson/confidence.py computes it; `score` and `before` are never
    negative.
    """

    alone: tuple[float, float]
    """bias, score."""
    joined: tuple[float, float, float, float] | None
    """bias, score, before, agrees; None for an exit that nothing can come before."""


class Interval(Record, frozen=True, kw_only=True):
    """Regression: the target lies within `half_width` of the output with probability `level` (split conformal)."""

    level: float
    half_width: tuple[float, ...]
    """Per output, in the targets' units."""
    n: int
    split: str


class Joint(Record, frozen=True, kw_only=True):
    """How good every exit is, given what one exit said: what a planner needs to decide whether going on pays.

    What exit j says falls into one of the buckets between `edges[j]`: its posterior with no answer in hand, or in
    regression its first output.
    """

    split: str
    edges: tuple[tuple[float, ...], ...]
    """[exit j]: ascending inner edges; one more bucket than edges. What lies on an edge is in the bucket above it."""
    n: tuple[tuple[int, ...], ...]
    """[exit j][bucket]: frames."""
    value: tuple[tuple[tuple[float, ...], ...], ...]
    """[exit j][bucket][exit k]: share of these frames that k answers rightly, or its mean absolute error on them."""


class SampleFile(Record, frozen=True, kw_only=True):
    """What every exit answers on the frames of one role; jetson/samples.py reads it."""

    file: str
    sha256: str
    size_bytes: int
    n: int
    """Frames."""
