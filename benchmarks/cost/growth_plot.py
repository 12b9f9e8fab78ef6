"""`python -m benchmarks.cost.growth_plot [FILE]`: how latency and memory grow, one SVG for each.

FILE is what `python -m benchmarks.cost.growth` wrote, by default that of benchmarks/results.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cost import record
from benchmarks.cost.growth import AXES, PICTURES, SERIES, at, middle, written
from benchmarks.cost.record import Recorded
from benchmarks.pictures import BLUE, ORANGE, VERMILION, as_svg, program

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {"ms": (BLUE, "o"), "all_ms": (ORANGE, "s"), "mib": (VERMILION, "D")}
SHOWN = {"latency": ("ms", "all_ms"), "memory": ("mib",)}
SIZE = (10.0, 2.9)
"""Inches."""


def draw(recorded: Recorded, which: str, source: str) -> str:
    """One picture as SVG.

    Args:
        recorded: by the benchmark.
        which: of `PICTURES`.
        source: SHA-256 of the results.

    Raises:
        MissingExtra: matplotlib is not installed.
    """

    def fill(figure: Figure) -> None:
        panels = figure.subplots(1, len(recorded.figures), squeeze=False)[0]
        for axes, (name, found) in zip(panels, recorded.figures.items(), strict=True):
            _fill(axes, found, SHOWN[which])
            axes.set_xlabel(AXES[name].title)
        panels[0].set_ylabel("ms" if which == "latency" else "MiB")

    return as_svg(SIZE, f"growth of {which}", source, fill)


def _fill(axes: Axes, found: dict[str, Any], shown: tuple[str, ...]) -> None:
    """Points with their spread, the law behind them, and its formula above."""
    x = np.array(found["x"], float)
    fine = np.linspace(x.min(), x.max(), 100)
    told = []
    for series in [s for s in shown if s in found]:
        colour, mark = LOOKS[series]
        fit = found["laws"][series]
        axes.plot(fine, at(fit, fine), color=colour, linestyle="--", zorder=2)
        ends = [v for v in found[series] if isinstance(v, list)]
        if ends:
            axes.vlines(x, [v[0] for v in ends], [v[2] for v in ends], color=colour, alpha=0.5, linewidth=3, zorder=3)
        label = SERIES[series].rpartition(",")[0]
        axes.plot(x, middle(found[series]), color=colour, marker=mark, linestyle="none", label=label, zorder=4)
        told.append(written(fit))
    axes.set_title("\n".join(told), fontsize=9, loc="left")
    axes.set_ylim(bottom=0.0)
    if len(told) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower right")


def picture(folder: Path, which: str) -> Path:
    """Where a picture lies."""
    return folder / f"growth-{which}.svg"


def main(words: list[str] | None = None) -> int:
    return program(words, "benchmarks.cost.growth_plot", __doc__, [record.RESULTS / "cost-growth.json"], _drawn)


def _drawn(file: Path, source: str) -> list[tuple[str, str]]:
    recorded = record.read(file)
    return [(picture(Path(), which).name, draw(recorded, which, source)) for which in PICTURES]


if __name__ == "__main__":
    sys.exit(main())
