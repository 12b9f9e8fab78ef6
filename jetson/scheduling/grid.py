"""The planner's tables as a picture needs them: what it does at every boundary, by the time that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from jetson.scheduling.explain import table_now, tau_now
from jetson.scheduling.planner import Planner
from jetson.scheduling.rules import STOP

NEVER = -3
"""Where no action is: at boundaries before the one that the exit in hand answers at."""

Said = Literal["nothing", "anything", "least", "most"]


@dataclass(frozen=True)
class Panel:
    """Actions with one answer in hand, or with none."""

    exit: int | None
    said: Said
    """What the answer says of itself: the least or the most that is told apart, or anything where that is alike."""
    worth: float | None
    """Of the answer, going by what it says of itself; None with nothing in hand, and for anything."""
    actions: npt.NDArray[np.int8]
    """(boundaries, times): an exit's index, `ADVANCE`, `STOP` or `NEVER`."""
    spent_ms: npt.NDArray[np.float64]
    """(boundaries,): time since the frame came, when every unit takes its median and no other branch runs; NaN where
    no action is."""

    @property
    def always_stops(self) -> bool:
        """Whether there is nothing to see."""
        return bool(np.isin(self.actions, (STOP, NEVER)).all())


@dataclass(frozen=True)
class Grid:
    """All that the planner would do."""

    hidden: bool
    """Whether the budget is not told; then times are those that have passed since the frame came, else those left."""
    layers: tuple[int, ...]
    """Of each boundary: the layer that has run, 0 at the start."""
    times_ms: npt.NDArray[np.float64]
    """(times,): where each column begins; the last goes on for ever."""
    panels: tuple[Panel, ...]


def grid(planner: Planner, hidden: bool = False) -> Grid:
    """Lay a planner's actions out, at the pace and the tau at which it stands now.

    Args:
        planner: whose actions.
        hidden: for budgets that are not told.
    """
    memory, pace, paths = planner.memory.copy(), planner.slowdown, planner.paths
    table = table_now(planner, memory, hidden)
    columns = table.action.shape[3]
    places = np.arange(columns) if hidden else np.arange(columns - 1)
    tau = 1.0 if hidden else tau_now(planner, memory)
    by_time = table.action[..., ::-1] if hidden else table.action[..., 1:]
    medians = pace * planner.rules.profiled_ms
    before_ms = pace * planner.profile.preprocess_ms.median
    spent = before_ms + np.concatenate([[0.0], np.cumsum(medians[list(paths.segments)])])
    panels = [Panel(None, "nothing", None, by_time[:, 0, 0], spent)]
    for exit_, needs in enumerate(paths.stages):
        here = by_time[:, exit_ + 1].copy()
        here[:needs] = NEVER
        after = np.where(np.arange(len(spent)) < needs, np.nan, spent + medians[paths.branches[exit_]])
        least, most = here[:, 0], here[:, -1]
        if np.array_equal(least, most):
            panels.append(Panel(exit_, "anything", None, least, after))
            continue
        worth = table.outlook.worth[exit_]
        panels.append(Panel(exit_, "least", float(worth[0]), least, after))
        panels.append(Panel(exit_, "most", float(worth[-1]), most, after))
    times = np.array(places * (table.step_ms * tau * pace), np.float64)
    if hidden:
        # The tables begin at the first boundary; what comes before it is looked up as if it took no time.
        times[1:] += planner.rules.before_ms
    return Grid(
        hidden=hidden,
        layers=(0, *(s.layer for s in planner.manifest.segments)),
        times_ms=times,
        panels=tuple(panels),
    )
