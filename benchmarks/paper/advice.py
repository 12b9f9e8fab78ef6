"""`python -m benchmarks.paper.advice FILE --out OUT`: results of the experiment as `offramp suggest` reads them.

Qualities are those of the calibration part, because the advice decides on them (docs/decisions/0002). A layer's time is
that of its segment; where a segment spans several layers its time is split evenly among them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.paper.summary import Exit, Summary, load
from jetson.errors import OfframpError
from jetson.files import write_file
from toolkit.cli.suggest import BUDGETS
from toolkit.suggest.choose import Choice, Depth, best_sets, empirical
from toolkit.suggest.sources import ExitResult, Results, Source, load_source


@dataclass(frozen=True)
class Advised:
    """The best set of so many early exits."""

    exits: tuple[str, ...]
    """Without the head."""
    expected: float
    """Over the budgets, by the calibration part, on which it was chosen."""
    on_test: float
    """What the same exits then reach on the test part."""


def results_of(summary: Summary) -> Results:
    """What advice needs of an experiment."""

    def result(exit_: Exit) -> ExitResult:
        return ExitResult(name=exit_.name, layer=exit_.layer, quality=exit_.calibration.mean, branch_ms=exit_.unit.ms)

    return Results(
        task=summary.recorded.task,
        layer_ms=summary.depth.layer_ms,
        boundary_ms=summary.depth.boundary_ms,
        fixed_ms=summary.depth.fixed_ms,
        exits=tuple(map(result, summary.exits)),
        head=result(summary.head),
    )


def encode(summary: Summary) -> str:
    """The file that `offramp suggest` reads."""
    return msgspec.json.format(msgspec.json.encode(results_of(summary)).decode(), indent=1) + "\n"


def budgets(source: Source) -> np.ndarray:
    """Those that `offramp suggest` takes when none are given."""
    whole = source.depth.latency_ms(source.head, 1)
    quickest = min([source.depth.latency_ms(c, 1) for c in source.candidates], default=whole)
    return np.linspace(quickest, 1.5 * whole, BUDGETS)


def no_answer(summary: Summary) -> float:
    """What counts where no exit fits into a budget: no accuracy, or the error of always answering the mean."""
    return summary.recorded.mean_error or 0.0


def advise(summary: Summary, most: int) -> tuple[list[Advised | None], tuple[float, float]]:
    """For 0, 1, ..., `most` early exits the best set, None where there is none; and the lowest and highest budget."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "results.json")
        write_file(file, encode(summary))
        source = load_source(file, None)
    given = budgets(source)
    sign, nothing = (1.0 if summary.higher_is_better else -1.0), no_answer(summary)
    sets = best_sets(source.candidates, source.head, source.depth, empirical(given), most, sign * nothing, keep=1)
    test = {e.name: e.test.mean for e in summary.all_exits}

    def told(choice: Choice) -> Advised:
        shares = _shares(choice, source.depth, given)
        reached = sum(share * test[e.name] for e, share in zip(choice.exits, shares, strict=True))
        names = tuple(e.name for e in choice.exits[:-1])
        return Advised(names, sign * choice.worth, reached + (1 - sum(shares)) * nothing)

    return [told(choices[0]) if choices else None for choices in sets], (float(given[0]), float(given[-1]))


def _shares(choice: Choice, depth: Depth, given: np.ndarray) -> list[float]:
    """Which share of the budgets each exit answers: the deepest that fits, unless a shallower one is as good."""
    layers = sorted({e.layer for e in choice.exits})
    taken, best = np.full(given.shape, -1), -np.inf
    for index, exit_ in enumerate(choice.exits):
        if exit_.quality > best:
            best = exit_.quality
            taken[given >= depth.latency_ms(exit_, layers.index(exit_.layer) + 1)] = index
    return [float((taken == index).mean()) for index in range(len(choice.exits))]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.advice", description=__doc__)
    parser.add_argument("results", type=Path, metavar="FILE", help="as benchmarks.paper wrote it")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(words)
    try:
        write_file(options.out, encode(load(options.results)))
    except OfframpError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"-> {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
