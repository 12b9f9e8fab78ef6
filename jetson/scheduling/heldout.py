"""Replay held-out answers through a table of actions, many frames at once: which table is to be believed, and how far.

The device is as profiled here, with units independent of one another; a slowdown is the filter's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.confidence import posterior_logits
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.induction import Revisions, Table
from jetson.scheduling.outlook import worth_of
from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Walk:
    """How each frame went."""

    exit: npt.NDArray[np.int64]
    """(n,): that answered."""
    in_time: npt.NDArray[np.bool_]
    worth: Array
    """(n,): of the answer that counts in the end; 0 when none does."""
    compute_ms: Array
    ran: npt.NDArray[np.bool_]
    """(n, exits): whether the branch ran."""
    stages: npt.NDArray[np.int64]
    """(n,): segments that ran."""

    @property
    def branches(self) -> npt.NDArray[np.int64]:
        """(n,): how many branches ran."""
        found: npt.NDArray[np.int64] = self.ran.sum(axis=1)
        return found

    def value(self, table: Table) -> Array:
        """(n,): what the table was to maximise."""
        late = np.where(self.in_time, 0.0, table.prices.late)
        found: Array = self.worth - late - table.prices.per_ms * self.compute_ms
        return found


def draw_latencies(profile: LatencyProfile, names: list[str], n: int, seed: int) -> Array:
    """(n, units): times of every unit on n frames, milliseconds, stratified over its distribution."""
    rng = np.random.default_rng(seed)
    points = (np.arange(n) + 0.5) / n
    return np.stack([rng.permutation(profile.units[u].end_to_end_ms.quantile(points)) for u in names], axis=1)


def budgets_over(profile: LatencyProfile, shares: Array) -> Array:
    """Budgets in milliseconds between the quickest exit's median and a little over the deepest one's 95 % quantile.

    Preprocessing is taken off: a walk begins at the first boundary.

    Args:
        profile: measured on this device.
        shares: (n,), 0 to 1: where on a logarithmic scale.
    """
    low = min(e.end_to_end_ms.median for e in profile.exits)
    high = 1.15 * max(float(e.end_to_end_ms.quantile(0.95)) for e in profile.exits)
    found: Array = np.maximum(low * (high / low) ** shares - profile.preprocess_ms.median, 1e-6)
    return found


ALMOST_OVER = 0.98
"""Share of a budget after which nobody revises it any more."""


class Revised(NamedTuple):
    """Budgets that become others."""

    table: Table
    """That decides from then on."""

    at_ms: Array
    """(n,): when; infinite for never."""
    to_ms: Array


def draw_revisions(revisions: Revisions, budgets: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """When each budget is revised, infinite for never, and to what; (n,) each."""
    n = len(budgets)
    at_ms = budgets * (1.0 - rng.random(n) ** (1.0 / max(revisions.rate, 1e-9)))
    ratios = rng.choice(revisions.ratios, n, p=np.array(revisions.shares) / sum(revisions.shares))
    revised_ms = at_ms + ratios * (budgets - at_ms)
    never = at_ms >= ALMOST_OVER * budgets
    at_ms[never], revised_ms[never] = np.inf, budgets[never]
    return at_ms, revised_ms


def walk(
    table: Table,
    paths: Paths,
    manifest: Manifest,
    samples: Samples,
    frames: npt.NDArray[np.intp],
    latencies: Array,
    budgets: Array,
    tau: float = 1.0,
    hidden: bool = False,
    revised: Revised | None = None,
) -> Walk:
    """Let a table decide on frames whose answers are known.

    Args:
        table: of actions.
        paths: of the bundle.
        manifest: of the bundle.
        samples: what every exit answers.
        frames: (n,), which sample each frame is.
        latencies: (n, units), milliseconds.
        budgets: (n,), milliseconds.
        tau: time is taken for so many times shorter.
        hidden: the budget is not told; the answer in hand when it runs out counts.
        revised: what budgets become meanwhile.
    """
    n, last = len(frames), table.action.shape[3] - 1
    worth = worth_of(manifest, samples)[frames]
    told = budgets
    stage, hand = np.zeros(n, np.int64), np.full(n, -1)
    said, named = np.full(n, np.nan), np.full(n, -1, np.int64)
    elapsed, ran = np.zeros(n), np.zeros((n, len(paths.branches)), np.bool_)
    counting = np.full(n, -1)
    live = np.arange(n)
    while len(live):
        bucket = (said[live, None] >= table.outlook.edges[hand[live]]).sum(axis=1)
        if hidden:
            column = np.maximum(last - (elapsed[live] / table.step_ms).astype(np.int64), 0)
        else:
            if revised is not None:
                told = np.where(revised.at_ms <= elapsed, revised.to_ms, budgets)
            left = told[live] - elapsed[live]
            places = np.maximum(left, 0.0) / (tau * table.step_ms)
            column = np.where(left < 0.0, 0, np.minimum(places, last - 1).astype(np.int64) + 1)
        place = stage[live], hand[live] + 1, bucket, column
        action = table.action[place].astype(np.int64)
        if revised is not None:
            action = np.where(revised.at_ms[live] <= elapsed[live], revised.table.action[place], action)
        action[hidden & (elapsed[live] > budgets[live]) & (hand[live] >= 0)] = STOP
        live, action = live[action != STOP], action[action != STOP]
        going = live[action == ADVANCE]
        elapsed[going] += latencies[going, np.asarray(paths.segments)[stage[going]]]
        stage[going] += 1
        for exit_ in np.flatnonzero(np.bincount(action[action >= 0])):
            here = live[action == exit_]
            elapsed[here] += latencies[here, paths.branches[exit_]]
            said[here] = _said(manifest, samples, int(exit_), frames[here], hand[here], said[here], named[here])
            if samples.class_index is not None:
                named[here] = samples.class_index[frames[here], exit_]
            hand[here] = exit_
            ran[here, exit_] = True
            ends = told if revised is None else np.where(revised.at_ms <= elapsed, revised.to_ms, budgets)
            in_time = here[elapsed[here] <= ends[here]]
            counting[in_time] = exit_
    if revised is not None:
        told = np.where(revised.at_ms <= elapsed, revised.to_ms, budgets)
    lost = table.late == "lost" and not hidden
    met = (elapsed <= told) if lost else counting >= 0
    final = np.where(met, hand if lost else counting, -1)
    got = np.where(final >= 0, worth[np.arange(n), np.maximum(final, 0)], 0.0)
    return Walk(hand, met, got, elapsed, ran, stage)


def _said(
    manifest: Manifest,
    samples: Samples,
    exit_: int,
    frames: npt.NDArray[np.intp],
    hand: npt.NDArray[np.int64],
    before: Array,
    named: npt.NDArray[np.int64],
) -> Array:
    """What the answers of an exit say of themselves, given what each frame has in hand."""
    if samples.output is not None:
        values: Array = samples.output[frames, exit_, 0].astype(np.float64)
        return values
    assert samples.score is not None and samples.class_index is not None
    score, classes = samples.score[frames, exit_], samples.class_index[frames, exit_]
    posterior = manifest.exits[exit_].posterior
    alone = posterior_logits(score, classes, posterior)
    joined = posterior_logits(score, classes, posterior, np.nan_to_num(before), named)
    # Of two exits after one layer the later may have run first; posteriors know only what comes before.
    found: Array = np.where((hand >= 0) & (hand < exit_), joined, alone)
    return found
