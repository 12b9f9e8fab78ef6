"""`python -m benchmarks.paper.plots FILE...`: quality against latency and depth, one SVG for each experiment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.paper.summary import Exit, Summary, load
from benchmarks.pictures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, as_svg, program

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = ((BLACK, "o"), (ORANGE, "s"), (GREEN, "^"), (BLUE, "D"), (VERMILION, "v"), (PURPLE, "P"), (SKY, "X"))
"""One colour and one mark a branch."""
SIZE = (10.0, 5.0)
"""Inches."""
PROBE = "#777777"
FRONTIER = "#c8c8c8"


def draw(summary: Summary, source: str) -> str:
    """The picture as SVG.

    Args:
        summary: of one experiment.
        source: SHA-256 of its file.

    Raises:
        MissingExtra: matplotlib is not installed.
    """

    def fill(figure: Figure) -> None:
        by_time, by_layer = figure.subplots(1, 2, sharey=True)
        _against_latency(by_time, summary)
        _against_layer(by_layer, summary)
        # Those of both panels once; the frontier, drawn first to lie below, is named last.
        marks = _marks(by_time) | _marks(by_layer)
        marks["frontier"] = marks.pop("frontier")
        figure.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=5, frameon=False)

    return as_svg(SIZE, summary.name, source, fill)


def _against_latency(axes: Axes, summary: Summary) -> None:
    steps = [(e.path_ms, _shown(summary, e.test.mean)) for e in summary.frontier]
    axes.step(*zip(*steps, strict=True), where="post", color=FRONTIER, linewidth=5, label="frontier", zorder=1)
    for branch, exits, look in _lines(summary):
        _line(axes, summary, [e.path_ms for e in exits], exits, branch, look)
    _head(axes, summary, summary.head.path_ms)
    axes.set_xlabel("latency of the path to the exit, ms")
    axes.set_xlim(left=0)
    axes.set_ylabel("accuracy, %" if summary.higher_is_better else "mean absolute error (lower is better)")


def _against_layer(axes: Axes, summary: Summary) -> None:
    for branch, exits, look in _lines(summary):
        _line(axes, summary, [e.layer for e in exits], exits, branch, look)
    layers = sorted(summary.probe)
    values = [_shown(summary, summary.probe[layer]) for layer in layers]
    axes.plot(layers, values, color=PROBE, linestyle="--", linewidth=1.6, label="linear probe", zorder=4)
    _head(axes, summary, summary.head.layer)
    axes.set_xlabel("layer after which the exit lies")
    axes.set_xticks(range(1, summary.head.layer + 1))


def _lines(summary: Summary) -> list[tuple[str, list[Exit], tuple[str, str]]]:
    """Of each branch its exits by layer, and how it looks."""
    found = []
    for index, branch in enumerate(summary.branches):
        exits = [e for e in summary.exits if e.branch == branch]
        found.append((branch.replace(":", " "), exits, LOOKS[index % len(LOOKS)]))
    return found


def _line(
    axes: Axes, summary: Summary, places: Sequence[float], exits: list[Exit], label: str, look: tuple[str, str]
) -> None:
    colour, marker = look
    values = [_shown(summary, e.test.mean) for e in exits]
    spread = [_shown(summary, e.test.std or 0.0) for e in exits]
    bars = spread if any(spread) else None
    axes.errorbar(places, values, yerr=bars, color=colour, marker=marker, elinewidth=1.2, label=label, zorder=3)


def _head(axes: Axes, summary: Summary, place: float) -> None:
    scores = summary.head.test
    value, spread = _shown(summary, scores.mean), scores.std and _shown(summary, scores.std)
    axes.errorbar(
        [place],
        [value],
        yerr=None if spread is None else [spread],
        color=BLACK,
        marker="*",
        markersize=13,
        markeredgecolor="white",
        linestyle="none",
        elinewidth=1.2,
        label="head",
        zorder=5,
    )


def _marks(axes: Axes) -> dict[str, Any]:
    """What the legend shows, by label: lines and marks without their error bars."""
    handles, labels = axes.get_legend_handles_labels()
    return {label: getattr(h, "lines", (h,))[0] for h, label in zip(handles, labels, strict=True)}


def _shown(summary: Summary, value: float) -> float:
    return 100 * value if summary.higher_is_better else value


def picture(folder: Path, name: str) -> Path:
    """Where an experiment's picture lies."""
    return folder / f"frontier-{name}.svg"


def main(words: list[str] | None = None) -> int:
    return program(words, "benchmarks.paper.plots", __doc__, (), _drawn)


def _drawn(file: Path, source: str) -> list[tuple[str, str]]:
    return [(picture(Path(), file.stem).name, draw(load(file), source))]


if __name__ == "__main__":
    sys.exit(main())
