"""How far confidence may be trusted, in figures: calibration errors of a classifier, intervals of a regression."""

from __future__ import annotations

import math

from jetson.beliefs import Reliability, ReliabilityBin
from jetson.manifest import Exit
from toolkit.report.formats import NA, decimals_for, fixed, share
from toolkit.report.gather import Run
from toolkit.report.tables import Cell, Table


def errors_table(run: Run) -> Table | None:
    """The expected calibration error of every exit on every split; None where no exit was judged."""
    exits = run.manifest.exits
    splits = list(dict.fromkeys(r.split for e in exits for r in e.reliability))
    if not splits:
        return None
    columns = ("n", "Before", "After", "Chance")
    header = (Cell("Exit", numeric=False), *(Cell(c, f"{split} split") for split in splits for c in columns))
    rows = tuple(
        (Cell(e.name, style=run.styles[e.name], numeric=False), *(c for split in splits for c in _errors(e, split)))
        for e in exits
    )
    caption = (
        "Expected calibration error in points: how far the stated probability is from the share of right answers, "
        "over bins of equal width, weighed by their frames. Before: the plain softmax; after: the posterior that the "
        "runtime states with no answer in hand. Chance: what this many frames would show on average if every "
        "posterior held."
    )
    return Table(caption, header, rows)


def _errors(exit_: Exit, split: str) -> tuple[Cell, ...]:
    found = next((r for r in exit_.reliability if r.split == split), None)
    if found is None:
        return (Cell(NA),) * 4
    return (Cell(f"{found.n:,}"), *(Cell(fixed(100 * v, 2)) for v in (found.before, found.after, by_chance(found))))


def by_chance(judged: Reliability) -> float:
    """The mean calibration error after, in shares, of so many frames if every bin's stated probability held."""
    return sum(_deviation(b) for b in judged.bins_after) / max(1, judged.n)


def _deviation(found: ReliabilityBin) -> float:
    """Mean absolute deviation of the number of right answers from its mean: binomial, de Moivre's formula.

    The square root of the variance would say too much where hardly any answer is expected to be wrong, as it is in
    the bin that holds most frames.
    """
    n, p = found.n, found.stated
    if not n or not 0 < p < 1:
        return 0.0
    k = math.floor(n * p) + 1
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return 2 * k * math.exp(ways + k * math.log(p) + (n - k + 1) * math.log1p(-p))


def intervals_table(run: Run) -> Table | None:
    """How far off each output of each exit may be; None where no interval was learnt."""
    exits = run.manifest.exits
    found = [e.interval for e in exits if e.interval is not None]
    if not found:
        return None
    outputs = max(len(i.half_width) for i in found)
    decimals = decimals_for(w for i in found for w in i.half_width)
    header = (
        Cell("Exit", numeric=False),
        *(Cell("Half width", f"output {k + 1}" if outputs > 1 else "") for k in range(outputs)),
        Cell("Level"),
        Cell("n"),
        Cell("Split", numeric=False),
    )
    rows = tuple(
        (Cell(e.name, style=run.styles[e.name], numeric=False), *_interval(e, outputs, decimals)) for e in exits
    )
    caption = (
        "With the probability of its level, a target lies no further from the exit's output than the half width, in "
        "the targets' unit: each output for itself, over frames drawn as the n of the split were (split conformal "
        "prediction)."
    )
    return Table(caption, header, rows)


def _interval(exit_: Exit, outputs: int, decimals: int) -> tuple[Cell, ...]:
    found = exit_.interval
    if found is None:
        return (*(Cell(NA),) * (outputs + 2), Cell(NA, numeric=False))
    widths = tuple(Cell(f"± {fixed(w, decimals)}") for w in found.half_width)
    level = share(found.level).replace(".0", "")
    return (*widths, Cell(level), Cell(f"{found.n:,}"), Cell(found.split, numeric=False))
