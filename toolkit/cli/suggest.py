"""`offramp suggest`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from jetson.errors import BadInput
from jetson.manifest import Task
from toolkit.cli.console import out, print_json, print_table, say
from toolkit.cli.options import JSON

if TYPE_CHECKING:
    from toolkit.suggest.choose import Choice, Depth
    from toolkit.suggest.sources import Source

BUDGETS = 1001
"""Budgets that stand for a range of them."""


@click.command("suggest")
@click.argument("source", metavar="BUNDLE_OR_RESULTS", type=click.Path(path_type=Path))
@click.option("--profile", type=click.Path(path_type=Path), help="Of BUNDLE: what its units cost.")
@click.option("--exits", "most", required=True, type=click.IntRange(0, 64), help="Early exits at most.")
@click.option("--budget-ms", help="LOW:HIGH, all in between equally likely, or single ones with commas.")
@click.option("--budget-trace", type=click.Path(path_type=Path), help="CSV file of budgets, as for run.")
@click.option("--boundary-ms", type=click.FloatRange(0), help="What one more cut costs [default: as measured].")
@click.option("--no-answer", type=float, help="What no answer is worth: an accuracy, or an error [accuracy: 0].")
@JSON
def command(
    source: Path,
    profile: Path | None,
    most: int,
    budget_ms: str | None,
    budget_trace: Path | None,
    boundary_ms: float | None,
    no_answer: float | None,
    as_json: bool,
) -> None:
    """Tell which early exits to build: the set that is worth most over the budgets.

    A BUNDLE's own exits are what is chosen from, or those of an experiment's RESULTS. Every budget is answered by the
    deepest exit that fits; every cut costs its boundary, so a further exit must pay for the time it takes from the
    deeper ones. The set is the best there is, found by dynamic programming over depth.
    """
    from toolkit.suggest.choose import best_sets, empirical
    from toolkit.suggest.sources import load_source

    found = load_source(source, profile)
    if boundary_ms is not None:
        found = dataclasses.replace(found, depth=dataclasses.replace(found.depth, boundary_ms=boundary_ms))
    nothing = _nothing(found.task, no_answer)
    budgets = _budgets(found, budget_ms, budget_trace)
    sets = best_sets(found.candidates, found.head, found.depth, empirical(budgets), most, nothing)
    best = max((s for s in sets if s), key=lambda s: s[0].worth)
    rest = [c for s in sets for c in s if c is not best[0]]
    runner_up = max(rest, key=lambda c: c.worth, default=None)
    if as_json:
        print_json(_describe(found, sets, best[0], runner_up, budgets))
        return
    if len(found.candidates) < most:
        say(f"there are {len(found.candidates)} early exits to choose from")
    _show(found, sets, best[0], runner_up, budgets)


def _nothing(task: Task, given: float | None) -> float:
    if given is None and task == "regression":
        raise BadInput("say with --no-answer what error to count where no exit fits into the budget")
    sign = 1.0 if task == "classification" else -1.0
    return sign * (given or 0.0)


def _budgets(source: Source, text: str | None, trace: Path | None) -> np.ndarray:
    from jetson.scheduling.trace import load_trace

    if text is not None and trace is not None:
        raise BadInput("give either --budget-ms or --budget-trace")
    if trace is not None:
        return np.array([line.final_ms for line in load_trace(trace)])
    if text is None:
        whole = source.depth.latency_ms(source.head, 1)
        quickest = min([source.depth.latency_ms(c, 1) for c in source.candidates], default=whole)
        say(
            f"no budgets given: all from {quickest:.3f} ms, the quickest exit's time, to {1.5 * whole:.3f} ms are taken"
        )
        return np.linspace(quickest, 1.5 * whole, BUDGETS)
    try:
        low, colon, high = text.partition(":")
        values = [float(low), float(high)] if colon else [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < v < 1e9 for v in values) or values != sorted(values):
        raise BadInput(f"--budget-ms {text!r}: give LOW:HIGH, or milliseconds in rising order, e.g. 4:20 or 5,10,33")
    return np.linspace(values[0], values[1], BUDGETS) if colon else np.array(values)


def _shares(choice: Choice, depth: Depth, budgets: np.ndarray) -> list[tuple[float, float]]:
    """Of each exit its latency and the share of the budgets it answers."""
    layers = sorted({e.layer for e in choice.exits})
    times = [depth.latency_ms(e, layers.index(e.layer) + 1) for e in choice.exits]
    taken = np.full(budgets.shape, -1)
    best = -np.inf
    for index, (exit_, ms) in enumerate(zip(choice.exits, times, strict=True)):
        if exit_.quality > best:
            best = exit_.quality
            taken[budgets >= ms] = index
    return [(ms, float((taken == i).mean())) for i, ms in enumerate(times)]


def _names(choice: Choice) -> str:
    return ",".join(e.name for e in choice.exits[:-1]) or "none"


def _amount(task: Task, worth: float) -> str:
    return f"{100 * worth:.2f} %" if task == "classification" else f"{-worth:.4f}"


def _show(
    source: Source, sets: list[list[Choice]], best: Choice, runner_up: Choice | None, budgets: np.ndarray
) -> None:
    task = source.task
    what = "expected accuracy" if task == "classification" else "expected error"
    rows, before = [], None
    for number, choices in enumerate(sets):
        if choices:
            price = "" if before is None else _gain(task, choices[0].worth - before)
            mark = "<- best" if choices[0] is best else ""
            rows.append([str(number), _names(choices[0]), _amount(task, choices[0].worth), price, mark])
            before = choices[0].worth
    print_table("The best set of every size", ["early exits", "which", what, "the last one brings", ""], rows, left=2)
    print_table(
        f"The choice: --exits {_names(best)}",
        ["exit", "ms", "worth", "answers"],
        [
            [e.name, f"{ms:.3f}", _amount(task, e.quality), f"{100 * share:.1f} % of the budgets"]
            for e, (ms, share) in zip(best.exits, _shares(best, source.depth, budgets), strict=True)
        ],
    )
    unanswered = 1 - sum(share for _, share in _shares(best, source.depth, budgets))
    out.print(
        f"{what} {_amount(task, best.worth)}; {100 * unanswered:.1f} % of the budgets fit no exit; "
        f"a boundary costs {source.depth.boundary_ms:.4f} ms",
        markup=False,
    )
    if runner_up is not None:
        lost = _gain(task, runner_up.worth - best.worth)
        out.print(f"runner-up: --exits {_names(runner_up)}, {_amount(task, runner_up.worth)} ({lost})", markup=False)


def _gain(task: Task, difference: float) -> str:
    return f"{100 * difference:+.2f} points" if task == "classification" else f"{-difference:+.4f}"


def _describe(
    source: Source, sets: list[list[Choice]], best: Choice, runner_up: Choice | None, budgets: np.ndarray
) -> dict[str, Any]:
    sign = 1.0 if source.task == "classification" else -1.0

    def plain(choice: Choice) -> dict[str, Any]:
        exits = [
            {"name": e.name, "latency_ms": ms, "quality": sign * e.quality, "share": share}
            for e, (ms, share) in zip(choice.exits, _shares(choice, source.depth, budgets), strict=True)
        ]
        return {"exits": exits, "expected": sign * choice.worth}

    return {
        "task": source.task,
        "boundary_ms": source.depth.boundary_ms,
        "choice": plain(best),
        "runner_up": None if runner_up is None else plain(runner_up),
        "by_number": [plain(choices[0]) if choices else None for choices in sets],
    }
