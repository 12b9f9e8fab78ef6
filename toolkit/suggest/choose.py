"""Which exits to build: the set worth most over a distribution of budgets, by exact dynamic programming over depth.

An exit answers when its path fits into the budget: the layers up to it, its branch, and a boundary's cost for every
cut up to it. A known budget is answered by the deepest exit that fits; one that is no better than a shallower exit of
the set is not taken for its depth. Then a set whose exits grow both better and slower with depth, a *ladder*, is worth

    a_0 + sum over its exits k, by depth, of (a_k - a_{k-1}) * P(budget >= L_k),        a_0: no answer

where L_k counts a boundary for every layer the set cuts after, up to k. From any other set an exit can be dropped that
is beaten by another, and the set is worth no less for it: the later exits lose a boundary. So the best set is a ladder.
Over ladders the sum runs from step to step, which is the dynamic program: its state is the last exit taken, the cuts up
to it, and how many exits there are.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Candidate:
    """An exit that could be built."""

    name: str
    """`LAYER:BRANCH`."""
    layer: int
    quality: float
    """What its answer is worth, higher is better: accuracy, or the error negated."""
    branch_ms: float


@dataclass(frozen=True)
class Depth:
    """What the backbone costs, milliseconds."""

    layer_ms: tuple[float, ...]
    """Each layer alone; the stem goes with the first."""
    boundary_ms: float
    """One more cut, wherever it is."""
    fixed_ms: float = 0.0
    """Every frame, whatever its exit: preprocessing."""

    def latency_ms(self, exit_: Candidate, cuts: int) -> float:
        """From frame to answer, through `cuts` boundaries, that before the branch included."""
        return self.fixed_ms + math.fsum(self.layer_ms[: exit_.layer]) + cuts * self.boundary_ms + exit_.branch_ms


@dataclass(frozen=True)
class Choice:
    """A set of exits and what it is worth."""

    exits: tuple[Candidate, ...]
    """By depth, the backbone's own head last."""
    worth: float
    """Expected quality over the budgets."""


Fits = Callable[[float], float]
"""P(budget >= latency), of a latency in milliseconds."""
Label = tuple[float, tuple[int, ...]]
"""What a ladder is worth so far, and its exits."""
States = dict[tuple[int, int, int], list[Label]]
"""By last exit, cuts up to it, and number of exits: the best ladders that end there."""


def best_sets(
    candidates: Sequence[Candidate],
    head: Candidate,
    depth: Depth,
    fits: Fits,
    most: int,
    nothing: float = 0.0,
    keep: int = 2,
) -> list[list[Choice]]:
    """The sets of early exits that are worth most, for every number of exits.

    Args:
        candidates: exits that could be built, in any order; several may follow one layer.
        head: the backbone's own end, part of every set.
        depth: what the backbone costs.
        fits: of a latency, how likely a budget allows it.
        most: early exits at most.
        nothing: what no answer is worth.
        keep: sets to give for each number, the best first.

    Returns:
        For 0, 1, ..., `most` early exits up to `keep` ladders of exactly so many; none where there is no such ladder.
    """
    order = sorted(candidates, key=lambda c: (c.layer, c.quality, -c.branch_ms))

    def latency(index: int, cuts: int) -> float:
        return depth.latency_ms(order[index], cuts)

    states: States = {}

    def put(state: tuple[int, int, int], labels: list[Label], gain: float) -> None:
        index = state[0]
        found = states.setdefault(state, [])
        found.extend((worth + gain, (*path, index)) for worth, path in labels)
        found[:] = heapq.nlargest(keep, found)

    for index, exit_ in enumerate(order):
        put((index, 1, 1), [(nothing, ())], (exit_.quality - nothing) * fits(latency(index, 1)))
    for index, exit_ in enumerate(order):
        here = [(s, labels) for s, labels in states.items() if s[0] == index and s[2] < most]
        for (_, cuts, number), labels in here:
            before = latency(index, cuts)
            for following in range(index + 1, len(order)):
                other = order[following]
                more = cuts + (other.layer > exit_.layer)
                reached = latency(following, more)
                if other.quality > exit_.quality and reached > before:
                    put((following, more, number + 1), labels, (other.quality - exit_.quality) * fits(reached))
    return _with_head(order, head, depth, fits, states, most, nothing, keep)


def _with_head(
    order: Sequence[Candidate],
    head: Candidate,
    depth: Depth,
    fits: Fits,
    states: States,
    most: int,
    nothing: float,
    keep: int,
) -> list[list[Choice]]:
    """Close every ladder with the head, which is part of every set and answers where it is better."""
    alone = (head.quality - nothing) * fits(depth.latency_ms(head, 1))
    found: list[list[Choice]] = [[] for _ in range(most + 1)]
    found[0] = [Choice((head,), nothing + alone)]
    for (index, cuts, number), labels in states.items():
        last = order[index]
        reached = depth.latency_ms(last, cuts)
        end = depth.latency_ms(head, cuts + (head.layer > last.layer))
        for worth, path in labels:
            # Where the head is no slower than the last exit, that exit never answers: no ladder.
            if head.quality <= last.quality or end > reached:
                total = worth + max(0.0, head.quality - last.quality) * fits(end)
                found[number].append(Choice((*(order[i] for i in path), head), total))
    return [heapq.nlargest(keep, choices, key=lambda c: c.worth) for choices in found]


def worth(exits: Sequence[Candidate], depth: Depth, budgets_ms: npt.ArrayLike, nothing: float = 0.0) -> float:
    """What any set is worth over budgets, by its definition.

    Args:
        exits: in any order.
        depth: what the backbone costs.
        budgets_ms: equally likely.
        nothing: what no answer is worth.
    """
    layers = sorted({e.layer for e in exits})
    budgets = np.asarray(budgets_ms, dtype=np.float64)
    value, best = np.full(budgets.shape, nothing), nothing
    for exit_ in sorted(exits, key=lambda e: (e.layer, e.quality)):
        if exit_.quality > best:  # else a shallower one is as good, and no exit is taken for its depth
            best = exit_.quality
            value[budgets >= depth.latency_ms(exit_, layers.index(exit_.layer) + 1)] = best
    return float(value.mean())


def empirical(budgets_ms: npt.ArrayLike) -> Fits:
    """P(budget >= latency) over budgets that are equally likely."""
    ordered = np.sort(np.asarray(budgets_ms, dtype=np.float64))
    return lambda latency_ms: 1.0 - float(np.searchsorted(ordered, latency_ms, side="left")) / ordered.size
