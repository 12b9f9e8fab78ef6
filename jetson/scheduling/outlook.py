"""What a planner believes about answers before they are given: how good the next one will be, given the one in hand.

Learnt from the answers that a bundle records of the `fit` frames. What an answer says of itself (its posterior; in
regression its first output) falls into one of a few buckets of its exit. An outlook holds what an answer in each
bucket is worth, and with which probability each exit's answer falls into which bucket, given exit and bucket of the
answer in hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.confidence import posterior_logits
from jetson.manifest import Manifest
from jetson.samples import Samples

Array = npt.NDArray[np.float64]

BUCKETS = 8
"""At most, per exit."""
FRAMES = 25
"""At least, per bucket."""
PRIOR = 4.0
"""Weight of what is known without looking at the answer in hand, in frames."""


@dataclass(frozen=True)
class Outlook:
    """Beliefs about exits, in numbers between 0 and 1 where 1 is the best an answer can be."""

    worth: Array
    """(exits, buckets): of an answer."""
    first: Array
    """(exits, buckets): probability of the bucket, with nothing in hand."""
    move: Array
    """(exits, exits, buckets, buckets) [j, k, b, c]: probability that exit k answers in bucket c, when the answer in
    hand is exit j's in bucket b; 0 unless j comes before k."""
    edges: Array
    """(exits, buckets - 1): ascending; a value on an edge belongs to the bucket above it. Infinite where there are
    fewer buckets."""

    @property
    def buckets(self) -> int:
        """At every exit."""
        return int(self.worth.shape[1])


def scale_of(manifest: Manifest) -> float:
    """In regression the error that an answer is worth nothing at: twice the worst exit's."""
    return 2.0 * max(max(e.quality[0].value for e in manifest.exits), 1e-12)


def worth_of(manifest: Manifest, samples: Samples) -> Array:
    """(n, exits): what each answer was worth.

    1 for right and 0 for wrong; in regression 1 without error, 0 with the error of `scale_of`, less beyond.
    """
    return samples.worth if manifest.task == "classification" else 1.0 - samples.worth / scale_of(manifest)


def plain_outlook(manifest: Manifest) -> Outlook:
    """Without looking at answers: an exit is worth its quality, whatever was in hand."""
    values = np.array([e.quality[0].value for e in manifest.exits])
    worth = values if manifest.task == "classification" else 1.0 - values / scale_of(manifest)
    exits = len(worth)
    return Outlook(
        worth=worth[:, None],
        first=np.ones((exits, 1)),
        move=np.triu(np.ones((exits, exits)), 1)[:, :, None, None],
        edges=np.empty((exits, 0)),
    )


def learn_outlook(manifest: Manifest, samples: Samples) -> Outlook:
    """With a look at answers, from recorded frames.

    What an answer is worth is taken from its posterior where the exit has one: how often the frames of a bucket were
    right says the same, but on a few hundred frames with several times the noise, and on that noise a planner stops.

    Args:
        manifest: of the bundle; its posteriors say what an answer says of itself.
        samples: that nothing is judged on later.
    """
    n, exits = len(samples), samples.exits
    worth = worth_of(manifest, samples)
    looks = _looks(manifest, samples)
    count = max(min(BUCKETS, n // FRAMES), 1)
    levels = np.arange(1, count) / count
    edges = np.array([_quantiles(np.concatenate([look.after for look in seen]), levels) for seen in looks])
    edges = edges.reshape(exits, count - 1)
    value, first = np.empty((exits, count)), np.empty((exits, count))
    move = np.zeros((exits, exits, count, count))
    for k, seen in enumerate(looks):
        where = [np.searchsorted(edges[k], look.after, side="right") for look in seen]
        # All looks show the same frames, so that together they count as one.
        frames = np.bincount(np.concatenate(where), minlength=count) / len(seen)
        sure = samples.class_index is not None and manifest.exits[k].posterior is not None
        believed = [1.0 / (1.0 + np.exp(-look.after)) if sure else worth[:, k] for look in seen]
        sums = np.bincount(np.concatenate(where), np.concatenate(believed), count) / len(seen)
        value[k] = (sums + PRIOR * worth[:, k].mean()) / (frames + PRIOR)
        usual = (frames + PRIOR / count) / (n + PRIOR)
        first[k] = (np.bincount(where[0], minlength=count) + PRIOR * usual) / (n + PRIOR)
        for j in range(k):
            own = [i for i, look in enumerate(seen) if look.exit == j]
            pairs = np.zeros((count, count))
            for i in own:
                before = np.searchsorted(edges[j], seen[i].before, side="right")
                pairs += np.bincount(before * count + where[i], minlength=count**2).reshape(count, count) / len(own)
            move[j, k] = (pairs + PRIOR * usual) / (pairs.sum(axis=1, keepdims=True) + PRIOR)
    return Outlook(worth=value, first=first, move=move, edges=edges)


def _quantiles(values: Array, levels: Array) -> Array:
    """As np.quantile, which brings in numpy.ma: a quarter of the time in which a planner is solved."""
    ordered = np.sort(values)
    place = levels * (len(ordered) - 1)
    below = place.astype(np.int64)
    above = np.minimum(below + 1, len(ordered) - 1)
    found: Array = ordered[below] + (place - below) * (ordered[above] - ordered[below])
    return found


class _Look(NamedTuple):
    """What an exit's answers say of themselves on all frames, with one thing in hand before."""

    exit: int
    """In hand; -1 for nothing."""
    before: Array
    """What that said of itself."""
    after: Array


def _looks(manifest: Manifest, samples: Samples) -> list[list[_Look]]:
    """Of each exit: with nothing in hand, then with each exit before it seen alone, and with the chain of all."""
    found: list[list[_Look]] = []
    alone: list[Array] = []
    chain = np.empty(0)
    for k, exit_ in enumerate(manifest.exits):
        if samples.output is not None:
            own = samples.output[:, k, 0].astype(np.float64)
            found.append([_Look(-1, own, own), *(_Look(j, alone[j], own) for j in range(k))])
            alone.append(own)
            continue
        assert samples.score is not None and samples.class_index is not None
        named, score, posterior = samples.class_index, samples.score[:, k].astype(np.float64), exit_.posterior
        own = posterior_logits(score, named[:, k], posterior)
        hands = [*enumerate(alone), *([(k - 1, chain)] if k else [])]
        found.append([_Look(-1, own, own)])
        for j, before in hands:
            after = posterior_logits(score, named[:, k], posterior, before, named[:, j])
            found[k].append(_Look(j, before, after))
        alone.append(own)
        chain = found[k][-1].after
    return found
