"""One table over several experiments: what a branch gains or loses when it is made narrower."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.paper.summary import Exit, Summary
from benchmarks.paper.tables import Words, rows_of
from jetson.errors import BadInput
from toolkit.report.formats import quantity


def options(default: Summary, others: Sequence[Summary]) -> str:
    """Rows of branches, each in every width.

    Args:
        default: with the branches as they are when no option is given.
        others: the same branches with options, after some of the same layers, with some of the same seeds.

    Raises:
        BadInput: they share no layer or seed.
    """
    layers = sorted(set.intersection(*({e.layer for e in s.exits} for s in (default, *others))))
    seeds = sorted(set.intersection(*({r.seed for r in s.recorded.runs} for s in (default, *others))))
    if not layers or not seeds:
        raise BadInput(f"{', '.join(s.name for s in (default, *others))}: no layer or seed is in all of them")
    words, rows = Words(default), []
    for index, branch in enumerate(default.branches):
        widths = [(branch, default), *((other.branches[index], other) for other in others)]
        if any(spec.partition(":")[0] != branch for spec, _ in widths):
            raise BadInput(f"{', '.join(o.name for o in others)}: not the branches of {default.name} in its order")
        found = [_row(spec, summary, layers, seeds, words) for spec, summary in widths]
        rows += [cells for _, cells in sorted(found, key=lambda row: row[0])]
    machine = f"{default.latency.threads} thread{'' if default.latency.threads == 1 else 's'}"
    caption = (
        f"{words.metric[0].upper()}{words.metric[1:]} on the test part, mean over the "
        f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}; time against that of one layer of the "
        f"backbone measured in the same run, ONNX Runtime, {machine}. `*`: the default."
    )
    header = ["branch", "parameters", "share of a layer's time", *(f"after layer {layer}" for layer in layers)]
    return f"{caption}\n\n{rows_of(header, rows)}"


def _row(
    spec: str, summary: Summary, layers: Sequence[int], seeds: Sequence[int], words: Words
) -> tuple[float, list[str]]:
    exits = [e for e in summary.exits if e.branch == spec and e.layer in layers]
    share = statistics.median(e.unit.ms for e in exits) / statistics.median(summary.depth.layer_ms)
    size = statistics.median(e.unit.parameters for e in exits)
    named = spec.replace(":", " ") if ":" in spec else f"{spec} `*`"
    scores = [words.value(_score(summary, e, seeds)) for e in sorted(exits, key=lambda e: e.layer)]
    return size, [named, quantity(size), f"{100 * share:.0f} %", *scores]


def _score(summary: Summary, exit_: Exit, seeds: Sequence[int]) -> float:
    architecture = exit_.branch.partition(":")[0]
    return statistics.fmean(
        r.test
        for r in summary.recorded.runs
        if (r.layer, r.architecture) == (exit_.layer, architecture) and r.seed in seeds
    )
