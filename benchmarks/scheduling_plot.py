"""`python -m benchmarks.scheduling_plot [FILE...]`: how policies do in every scenario, one SVG for each bundle.

FILE is what `python -m benchmarks.scheduling` wrote; without one, all of benchmarks/results are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.pictures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, as_svg, program
from benchmarks.scheduling_table import Recorded, command, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
Floats = npt.NDArray[np.float64]
LOOKS = {
    "planner": (BLUE, "o"),
    "planner-promise": (SKY, "P"),
    "planner-thrifty": (PURPLE, "X"),
    "replan": (BLACK, "s"),
    "threshold": (GREEN, "D"),
    "alert": (ORANGE, "^"),
    "deepest-p95": (VERMILION, "v"),
}
"""Colour and mark of each policy, which in a row stand in this order from top to bottom."""
RIVALS = ("replan", "threshold", "alert", "deepest-p95")
SIZE = (10.0, 7.8)
"""Inches."""
SPREAD = 0.72
"""Of a scenario's row is taken by its marks."""
LINE, BAND = "#777777", "#f6f6f6"


class Panel(NamedTuple):
    """What stands beside the names of the scenarios."""

    title: str
    axis: str
    policies: tuple[str, ...]
    figure: Callable[[Recorded, str, str], Floats]
    """(seeds,): of results, a scenario and a policy."""
    even: float
    """Up to here the axis is even, beyond it logarithmic; infinite for an even one."""
    ticks: tuple[float, ...]
    """Where there may be one."""


def behind(recorded: Recorded, scenario: str, policy: str) -> Floats:
    """Points of acc@D more than the oracle that knows latencies."""
    ours, oracle = (recorded.of(scenario, p, "acc_at_d") for p in (policy, "oracle-latency"))
    return 100.0 * (ours - oracle)


def missed(recorded: Recorded, scenario: str, policy: str) -> Floats:
    """Percent of the budgets that could be met."""
    return 100.0 * recorded.of(scenario, policy, "miss_rate")


def computed(recorded: Recorded, scenario: str, policy: str) -> Floats:
    """Percent more than replan."""
    return 100.0 * (recorded.of(scenario, policy, "compute_ms") / recorded.of(scenario, "replan", "compute_ms") - 1.0)


PANELS = (
    Panel(
        "acc@D against the latency oracle",
        "points, more is better",
        ("planner", *RIVALS),
        behind,
        1.0,
        (-30, -10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30),
    ),
    Panel(
        "budgets missed",
        "% of those that could be met",
        ("planner", "planner-promise", *RIVALS),
        missed,
        0.1,
        (0, 0.1, 1, 10, 100),
    ),
    Panel(
        "computing against replan",
        "% more a frame",
        ("planner", "planner-thrifty", "threshold", "alert"),
        computed,
        np.inf,
        tuple(range(-100, 101, 10)),
    ),
)


def draw(recorded: Recorded, title: str, source: str) -> str:
    """The picture as SVG.

    Args:
        recorded: of one bundle.
        title: of the file.
        source: SHA-256 of the results.

    Raises:
        MissingExtra: matplotlib is not installed.
    """

    def fill(figure: Figure) -> None:
        found = figure.subplots(1, len(PANELS), sharey=True, gridspec_kw={"width_ratios": (4, 3.4, 3)})
        marks: dict[str, Any] = {}
        for axes, panel in zip(found, PANELS, strict=True):
            marks |= _fill(axes, panel, recorded)
        found[0].set_ylim(len(recorded.scenarios) - 0.5, -0.5)
        found[0].set_yticks(range(len(recorded.scenarios)), recorded.scenarios)
        _lines(found, recorded.settings["miss_rate"])
        shown = [p for p in LOOKS if p in marks]
        figure.legend([marks[p] for p in shown], shown, loc="outside lower center", ncols=4, frameon=False)

    return as_svg(SIZE, title, source, fill)


def _fill(axes: Axes, panel: Panel, recorded: Recorded) -> dict[str, Any]:
    """Draw the figures; gives the marks by policy."""
    order = [p for p in LOOKS if p in panel.policies]
    rows = np.arange(len(recorded.scenarios))
    marks = {}
    ends: list[float] = []
    for policy, shift in zip(order, np.linspace(-0.5, 0.5, len(order)) * SPREAD, strict=True):
        colour, mark = LOOKS[policy]
        found = np.array([panel.figure(recorded, s, policy) for s in recorded.scenarios])
        axes.hlines(rows + shift, found.min(axis=1), found.max(axis=1), color=colour, linewidth=1.4, zorder=3)
        look: dict[str, Any] = {"color": colour, "marker": mark, "markeredgecolor": "white", "markeredgewidth": 0.4}
        (marks[policy],) = axes.plot(found.mean(axis=1), rows + shift, linestyle="none", zorder=4, **look)
        ends += [float(found.min()), float(found.max())]
    if np.isfinite(panel.even):
        axes.set_xscale("symlog", linthresh=panel.even)
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    ticks = [t for t in panel.ticks if low <= t <= high]
    sign = "+" if min(ticks) < 0 else ""
    axes.set_xticks(ticks, [f"{t:{sign if t else ''}g}" for t in ticks])
    axes.minorticks_off()
    axes.set_title(panel.title, fontsize=10, fontweight="bold", loc="left")
    axes.set_xlabel(panel.axis)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for row in rows[::2]:
        axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=0)
    return marks


def _lines(found: Any, promised: float) -> None:
    """The oracle, the promise, and replan."""
    for axes, place in zip(found, (0.0, 100.0 * promised, 0.0), strict=True):
        axes.axvline(place, color=LINE, linestyle="--", linewidth=1.0, zorder=2)
    note = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "color": LINE, "fontsize": 8}
    found[1].annotate(f"promised: {100.0 * promised:g} %", (100.0 * promised, 1.0), (3, -9), **note)


def picture(folder: Path, name: str) -> Path:
    """Where the picture of results lies."""
    return folder / f"{name}.svg"


def shown(recorded: Recorded, name: str) -> str:
    """The picture in Markdown, after the commands that make it.

    Args:
        recorded: of one bundle.
        name: of the results, without ending.
    """
    seeds, promised = recorded.settings["seeds"], 100.0 * recorded.settings["miss_rate"]
    drawn = f"python -m benchmarks.scheduling_plot benchmarks/results/{name}.json"
    return (
        f"Raw data: `{command(name, recorded.settings)}`; drawn by `{drawn}`.\n\n"
        f"Means over {seeds} seeds, and lines from the least to the most of them. Left, acc@D less that of "
        "`oracle-latency` (dashed) on the same frames: even between -1 and 1, logarithmic beyond. Middle, even up to "
        f"0.1 %; dashed, the {promised:g} % that `planner-promise` promises. Right, computing a frame against `replan` "
        "(dashed).\n\n"
        f"![{recorded.data}: acc@D against the latency oracle, budgets missed, and computing against replan, of each "
        f"policy in each scenario](images/{name}.svg)"
    )


def main(words: list[str] | None = None) -> int:
    return program(words, "benchmarks.scheduling_plot", __doc__, sorted(RESULTS.glob("scheduling-*.json")), _drawn)


def _drawn(file: Path, source: str) -> list[tuple[str, str]]:
    recorded = read(file)
    return [(picture(Path(), file.stem).name, draw(recorded, f"policies on {recorded.data}", source))]


if __name__ == "__main__":
    sys.exit(main())
