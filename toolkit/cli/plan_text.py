"""The planner's tables as lines of text: a row per boundary, a character per stretch of time."""

from __future__ import annotations

import numpy as np

from jetson.scheduling.grid import NEVER, Panel
from jetson.scheduling.rules import ADVANCE, STOP
from toolkit.report.plan_picture import Scale
from toolkit.report.plan_view import PlanView, panel_title

WIDEST = 84
"""Columns of time at most."""
LABEL = 10
"""Columns of a boundary's name."""
EXITS = "123456789abcdefghijklmnopqrstuvwxyz"
SIGNS = {ADVANCE: "-", STOP: ".", NEVER: " "}


def text_picture(view: PlanView, width: int) -> list[str]:
    """Lines for a terminal.

    Args:
        view: what is shown; of its panels those of what is in hand on the most likely ways.
        width: of the terminal, in columns.
    """
    panels = view.panels[: view.likely]
    columns = max(min(WIDEST, width - LABEL), 20)
    scale = Scale(view)
    times = scale.low * (scale.high / scale.low) ** ((np.arange(columns) + 0.5) / columns)
    places = np.searchsorted(view.grid.times_ms, times, side="right") - 1
    lines = [_legend(view, panels)]
    for panel in panels:
        lines += ["", panel_title(view, panel)]
        lines += [f"{_name(view, s):<{LABEL}}{_row(panel.actions[s, places])}" for s in _stages(panel)]
    name = "ms passed" if view.hidden else "ms left"
    lines.append(f"{name:<{LABEL}}{_ticks(scale, columns)}")
    more = len(view.panels) - len(panels)
    if more:
        lines.append(f"{more} more with another answer in hand: --out plan.html draws them")
    return lines


def _stages(panel: Panel) -> list[int]:
    return [int(s) for s in np.flatnonzero((panel.actions != NEVER).any(axis=1))]


def _name(view: PlanView, stage: int) -> str:
    return f"layer {view.grid.layers[stage]}" if stage else "start"


def _row(actions: np.ndarray) -> str:
    return "".join(SIGNS.get(int(a)) or EXITS[int(a) % len(EXITS)] for a in actions)


def _legend(view: PlanView, panels: list[Panel]) -> str:
    """What the signs mean; of the exits, those that are to be seen."""
    seen = sorted({int(a) for panel in panels for a in np.unique(panel.actions) if a >= 0})
    exits = [f"{EXITS[e % len(EXITS)]} run {view.manifest.exits[e].name}" for e in seen]
    return "; ".join(["- go on", *exits, ". stop"])


def _ticks(scale: Scale, columns: int) -> str:
    """Times below the columns that they stand at."""
    line = ""
    for tick in scale.ticks():
        share = np.log(tick / scale.low) / np.log(scale.high / scale.low)
        place = int(share * columns)
        if place >= len(line) and place + len(f"{tick:g}") <= columns:
            line = line.ljust(place) + f"{tick:g} "
    return line.rstrip()
