"""The most likely way through a table of actions: what is done at every boundary, and what else could have been done.

Every unit takes its median, and every answer says of itself the middle of what leads to the likeliest next action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jetson.scheduling.induction import Revisions, Table
from jetson.scheduling.lookahead import Place, alternatives, chances_of
from jetson.scheduling.paths import Paths
from jetson.scheduling.rules import ADVANCE, STOP


@dataclass(frozen=True)
class Look:
    """How a table is looked up within one budget, in milliseconds as profiled."""

    table: Table
    limit_ms: float
    """Since the frame began; infinite without a limit."""
    told: bool
    """Whether the planner knows it; else it reckons with what has passed since the first boundary."""
    since_ms: float = 0.0
    """Moment of the frame from which on time counts, where the planner goes by what has passed."""
    tau: float = 1.0
    """Time is taken for so many times shorter."""
    revisions: Revisions | None = None
    """That may have been reckoned with when the table was solved,"""
    settled: Table | None = None
    """and the table for what comes after one."""

    def column(self, elapsed_ms: float) -> int:
        """Of the table, so long after the frame began."""
        last, step = int(self.table.action.shape[3]) - 1, self.table.step_ms
        if not self.told:
            return max(last - int(min(max(elapsed_ms - self.since_ms, 0.0) / step, last)), 0)
        left = self.limit_ms - elapsed_ms
        return 0 if left < 0.0 else min(int(min(left / (self.tau * step), last)) + 1, last)


@dataclass(frozen=True)
class Boundary:
    """One boundary on the way."""

    place: Place
    chance: float
    """That answers on the way here say of themselves what leads here."""
    elapsed_ms: float
    """Since the frame began, as profiled."""
    action: int
    value: float
    others: tuple[tuple[int, float], ...]
    """Actions that could be taken instead, with their values, the best first."""


def likely_way(look: Look, paths: Paths, medians_ms: np.ndarray, before_ms: float) -> list[Boundary]:
    """Follow the table from the first boundary to the answer.

    Args:
        look: how it is looked up.
        paths: of the bundle.
        medians_ms: of the units, by index.
        before_ms: what passes before the first boundary.
    """
    table, elapsed_ms, chance = look.table, before_ms, 1.0
    stage = hand = bucket = 0
    found: list[Boundary] = []
    while True:
        place = Place(stage, hand, bucket, look.column(elapsed_ms))
        boundary = _boundary(look, paths, place, chance, elapsed_ms)
        found.append(boundary)
        over = not look.told and hand > 0 and elapsed_ms > look.limit_ms
        if boundary.action == STOP or over:
            return found
        if boundary.action == ADVANCE:
            elapsed_ms += float(medians_ms[paths.segments[stage]])
            stage += 1
            continue
        exit_ = boundary.action
        elapsed_ms += float(medians_ms[paths.branches[exit_]])
        said = chances_of(table, hand, bucket, exit_)
        hand = exit_ + 1
        actions = table.action[stage, hand, :, look.column(elapsed_ms)]
        share, likeliest = max((float(said[actions == a].sum()), int(a)) for a in np.unique(actions))
        chance *= share
        bucket = int(np.searchsorted(np.cumsum(np.where(actions == likeliest, said, 0.0)), share / 2))


def _boundary(look: Look, paths: Paths, place: Place, chance: float, elapsed_ms: float) -> Boundary:
    table = look.table
    value, action = float(table.value[place]), int(table.action[place])
    options = [alternatives(table, paths, place)]
    if look.revisions is not None:
        options.append(alternatives(table, paths, place, look.revisions, look.settled))
    # What was learnt of revisions since the table was solved is not in it: taken is what the table reckoned with.
    found = min(options, key=lambda o: abs(max(o.values()) - value))
    if action == STOP and place.hand == 0:
        action = int(table.action[place.stage, 0, 0, 0])
    # A budget of which only the distribution is known: values, given that it has not ended.
    alive = float(table.survival[place.column])
    scale = 1.0 / alive if place.column > 0 and alive > 0.0 else 1.0
    others = sorted(((a, min(v, value) * scale) for a, v in found.items() if a != action), key=lambda o: -o[1])
    kept = tuple((a, v) for a, v in others if not math.isinf(v))
    return Boundary(place, chance, elapsed_ms, action, value * scale, kept)
