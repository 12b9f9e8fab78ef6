"""What the planner would do within a few budgets, gathered for a page, a picture or a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.chosen import HeldOutReplay
from jetson.scheduling.explain import ExitShare, Explanation, explain
from jetson.scheduling.grid import Grid, Panel, grid
from jetson.scheduling.planner import Planner
from jetson.scheduling.wording import budget_words, milliseconds, percent
from toolkit.report.formats import metric_name, significant
from toolkit.report.palette import Style, style_of
from toolkit.report.tables import Cell, Table

SAID = {
    "nothing": "Nothing in hand",
    "anything": "{} in hand",
    "least": "{} in hand, least sure",
    "most": "{} in hand, most sure",
}
SAID_IN_REGRESSION = SAID | {"least": "{} in hand, its lowest outputs", "most": "{} in hand, its highest outputs"}


@dataclass(frozen=True)
class PlanView:
    """A planner's tables, and what they come to within some budgets."""

    planner: Planner
    hidden: bool
    """Whether the budgets are not told."""
    told: tuple[Explanation, ...]
    grid: Grid

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self.planner.manifest

    @property
    def styles(self) -> list[Style]:
        """How each exit looks."""
        return [style_of(i, e.name) for i, e in enumerate(self.manifest.exits)]

    @property
    def panels(self) -> list[Panel]:
        """Those in which anything but stopping happens; first those of what is in hand on the most likely ways."""
        held = self._held()
        return sorted((p for p in self.grid.panels if not p.always_stops), key=lambda p: p.exit not in held)

    @property
    def likely(self) -> int:
        """How many of the panels are of what is in hand on the most likely ways."""
        held = self._held()
        return sum(p.exit in held for p in self.panels)

    def _held(self) -> set[int | None]:
        names = [e.name for e in self.manifest.exits]
        return {names.index(step.in_hand) if step.in_hand else None for told in self.told for step in told.steps}

    @property
    def replay(self) -> HeldOutReplay | None:
        """Why answers are looked at, or are not."""
        return self.planner.plan.hidden_replay if self.hidden else self.planner.plan.known_replay


def plan_view(planner: Planner, budgets_ms: Sequence[float], hidden: bool = False) -> PlanView:
    """Ask a planner about budgets.

    Args:
        planner: as it stands now.
        budgets_ms: that are told, or hidden; when there is none, no limit is explained, or an unknown one.
        hidden: whether the planner is not told.
    """
    told = [explain(planner, ms, hidden=hidden) for ms in budgets_ms] or [explain(planner, hidden=hidden)]
    return PlanView(planner, hidden, tuple(told), grid(planner, hidden))


def usual_budgets(profile: LatencyProfile) -> list[float]:
    """Three budgets: the quickest exit just fits, the last just fits, and half way between on a logarithmic scale."""
    ends = [float(e.end_to_end_ms.quantile(0.95)) for e in profile.exits]
    low, high = 1.1 * min(ends), 1.1 * max(ends)
    return list(dict.fromkeys(_two_digits(ms) for ms in (low, math.sqrt(low * high), high)))


def _two_digits(ms: float) -> float:
    """Rounded up."""
    step = 10.0 ** (math.floor(math.log10(max(ms, 1e-6))) - 1)
    return float(f"{math.ceil(ms / step - 1e-9) * step:.2g}")


def panel_title(view: PlanView, panel: Panel) -> str:
    """What is in hand, in words."""
    classify = view.manifest.task == "classification"
    name = "" if panel.exit is None else view.manifest.exits[panel.exit].name
    words = (SAID if classify else SAID_IN_REGRESSION)[panel.said].format(name)
    if panel.worth is not None and classify:
        words += f" ({percent(panel.worth)} right)"
    return words


def left_out(view: PlanView) -> str:
    """The panels that are not shown, in words; empty when all are."""
    gone = [panel_title(view, p) for p in view.grid.panels if p.always_stops]
    return f"Always stops with: {'; '.join(t.removesuffix(' in hand') for t in gone)}." if gone else ""


def plan_table(view: PlanView) -> Table:
    """A row per budget."""
    exits, metric = view.manifest.exits, view.manifest.exits[0].quality[0].metric
    classify = metric == "accuracy"
    worth = (
        Cell("Right in time", "of all frames")
        if classify
        else Cell(metric_name(metric).capitalize(), "of answers in time")
    )
    used = [i for i in range(len(exits)) if any(t.exits[i].in_time + t.exits[i].late > 0.0 for t in view.told)]
    header = (
        Cell("Budget", numeric=False),
        Cell("Value"),
        worth,
        Cell("Late"),
        Cell("Computing", "ms a frame"),
        Cell("Branches", "a frame"),
        *(Cell(exits[i].name, "answers", style=view.styles[i]) for i in used),
    )
    rows = tuple(
        (
            Cell(budget_words(told).removeprefix("budget "), numeric=False),
            Cell(f"{told.value:.3f}"),
            Cell(percent(told.worth) if classify else significant(told.quality)),
            Cell(percent(told.miss)),
            Cell(milliseconds(told.compute_ms).removesuffix(" ms")),
            Cell(f"{told.branches:.2f}"),
            *(Cell(_share(told.exits[i])) for i in used),
        )
        for told in view.told
    )
    idle = [e.name for i, e in enumerate(exits) if i not in used]
    return Table(_caption(view) + (f" Exits that never answer: {', '.join(idle)}." if idle else ""), header, rows)


def _share(share: ExitShare) -> str:
    both = share.in_time + share.late
    return percent(both) if both > 0.0 else "–"


def _caption(view: PlanView) -> str:
    prices = view.planner.prices
    ends = " Nobody tells the planner the budget, and the answer in hand counts when it ends." if view.hidden else ""
    price = f" and {prices.per_ms:g} a millisecond of computing as profiled" if prices.per_ms else ""
    unit = "shares of a right answer" if view.manifest.task == "classification" else "shares of an answer without error"
    return (
        f"What is to be expected of a frame, by following the planner's tables forward.{ends} Value: what the answers "
        f"are worth, in {unit}, less {prices.late:g} for an answer that comes late{price}. It holds for a device that "
        "goes on at its present pace and for units that are as when they were profiled, independent of one another."
    )


def remarks(view: PlanView) -> list[str]:
    """What else is to be known of the planner: how it stands to answers, to its promise and to the device's pace."""
    planner, replay, first = view.planner, view.replay, view.told[0]
    looks = (
        "The planner looks at what answers say of themselves" if first.looks else "The planner does not look at answers"
    )
    if replay is None:
        found = [f"{looks}; the bundle records none that could be replayed." if not first.looks else f"{looks}."]
    else:
        less = ", and it computed less" if replay.sooner else ""
        found = [
            f"{looks}: replayed on {replay.n:,} held-out frames, a look was worth {replay.confident:.4f} and none "
            f"{replay.plain:.4f} (standard error of the difference: {replay.error:.4f}){less}."
        ]
    if planner.miss_rate is not None:
        found.append(_promise(view, planner.miss_rate, first.tau))
    if abs(first.slowdown - 1.0) > 5e-4:
        found.append(f"The device is taken to be {first.slowdown:.3g} times as slow as when it was profiled.")
    unmet = [budget_words(t).removeprefix("budget ") for t in view.told if t.can_be_met is False]
    if unmet:
        found.append(f"Not to be relied on, since even the quickest exit may need longer: {', '.join(unmet)}.")
    return found


def _promise(view: PlanView, miss_rate: float, tau: float) -> str:
    if view.hidden:
        return "A promised miss rate speaks of budgets that are told, not of these."
    how = "the tables serve as they are (tau 1)" if tau == 1.0 else f"time is taken for {tau:.3g} times shorter (tau)"
    return (
        f"To keep the miss rate under {100 * miss_rate:g} %, over all budgets and among frames that the quickest exit "
        f"can answer in time, {how}. A single budget may be missed more often."
    )
