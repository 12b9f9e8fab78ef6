"""The tables of one experiment as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.paper.advice import advise, no_answer
from benchmarks.paper.summary import Scores, Summary
from toolkit.report.formats import decimals_for, quantity, significant

ADVISED = 4
"""Early exits that advice is given for."""


def rows_of(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; the first columns are words, the others figures."""
    rule = [":--" if column < words else "--:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


class Words:
    """How one experiment's figures are written."""

    def __init__(self, summary: Summary) -> None:
        self.classify = summary.higher_is_better
        means = [e.test.mean for e in summary.all_exits] + list(summary.probe.values())
        self.decimals = 1 if self.classify else decimals_for(means)
        self.scale = 100 if self.classify else 1
        self.metric = "accuracy, %" if self.classify else "mean absolute error"

    def value(self, value: float, sign: str = "") -> str:
        """One quality, or with sign "+" a difference of two."""
        return f"{self.scale * value:{sign}.{self.decimals}f}"

    def scores(self, scores: Scores) -> str:
        """Mean ± standard deviation; the mean alone of one seed."""
        return self.value(scores.mean) + ("" if scores.std is None else f" ± {self.value(scores.std)}")

    def caption(self, summary: Summary) -> str:
        """What the figures are."""
        images = f"{summary.recorded.data.test:,} test images"
        over = f"mean ± standard deviation over {summary.seeds} seeds" if summary.seeds > 1 else "one seed"
        if len({len(e.test.values) for e in summary.all_exits}) > 1:
            over += " where a ± stands, else one"
        if self.classify:
            return f"Accuracy in % on {images}, {over}."
        always = self.value(no_answer(summary))
        return f"Mean absolute error on {images}, {over}; lower is better. Always answering the mean: {always}."


def quality(summary: Summary) -> str:
    """Rows of layers, columns of branches."""
    words, best = Words(summary), {e.name for e in summary.frontier}
    found = {(e.layer, e.branch): e for e in summary.all_exits}
    branches = (*summary.branches, summary.head.branch)

    def cell(layer: int, branch: str) -> str:
        exit_ = found.get((layer, branch))
        if exit_ is None:
            return ""
        text = words.scores(exit_.test)
        return f"**{text}**" if exit_.name in best else text

    layers = sorted({layer for layer, _ in found})
    rows = [
        [
            f"{layer} (final)" if layer == summary.head.layer else str(layer),
            *(cell(layer, branch) for branch in branches),
            words.value(summary.probe[layer]),
        ]
        for layer in layers
    ]
    runs = summary.recorded.runs
    minutes = sum(run.seconds for run in runs) / 60
    caption = (
        f"{words.caption(summary)} Bold: no other exit is as quick and better, or as good and quicker. "
        f"The {len(runs):,} trainings on {summary.recorded.data.train:,} images each took {minutes:.0f} minutes of one "
        "core."
    )
    return f"{caption}\n\n{rows_of(['after layer', *map(_named, branches), 'linear probe'], rows)}"


def cost(summary: Summary) -> str:
    """What branches, head and backbone cost."""
    latency, depth = summary.latency, summary.depth
    layer, layer_flops = statistics.median(depth.layer_ms), statistics.median(summary.layer_flops)
    rows = []
    for branch in (*summary.branches, summary.head.branch):
        units = [e.unit for e in summary.all_exits if e.branch == branch]
        ms = [u.ms for u in units]
        middle = statistics.median(ms)
        rows.append(
            [
                _named(branch),
                _range([u.parameters for u in units], quantity),
                _range([u.flops / 1e6 for u in units], significant),
                f"{middle:.3f}",
                _range(ms, lambda v: f"{v:.3f}"),
                f"{statistics.median(u.p95_ms for u in units):.3f}",
                f"{100 * middle / layer:.0f} %",
            ]
        )
    threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
    caption = (
        f"ONNX Runtime, {threads}, {summary.recorded.machine.processor}, {latency.rounds:,} rounds. Medians of one "
        "unit's time, over the layers that it was put after, and the range of these medians. One FLOP is an addition "
        f"or a multiplication. A layer of the backbone takes {layer:.3f} ms (median over the layers) and "
        f"{significant(layer_flops / 1e6)} MFLOPs; preprocessing {depth.fixed_ms:.3f} ms, a boundary "
        f"{depth.boundary_ms:.3f} ms. The path to the head sums to {summary.head.path_ms:.2f} ms; the whole model "
        f"in one engine, without preprocessing, took {latency.whole_ms:.2f} ms."
    )
    header = ["branch", "parameters", "MFLOPs", "median ms", "range, ms", "p95 ms", "share of a layer's time"]
    return f"{caption}\n\n{rows_of(header, rows)}"


def frontier(summary: Summary) -> str:
    """The exits that no other beats, the quickest first."""
    words, whole = Words(summary), summary.head.path_ms
    rows = [
        [
            f"`{e.name}`",
            f"{e.path_ms:.2f}",
            f"{e.path_flops / 1e6:,.1f}",
            words.scores(e.test),
            f"{100 * e.path_ms / whole:.0f} %",
        ]
        for e in summary.frontier
    ]
    caption = (
        f"{words.caption(summary)} To each of these exits no other is as quick and better, or as good and "
        "quicker. The path: preprocessing, the layers up to the exit, one boundary, the branch."
    )
    header = ["exit", "path ms", "path MFLOPs", words.metric, "share of the whole model's time"]
    picture = f"![{summary.name}: quality of every exit against its latency and its layer]({image(summary.name)})"
    drawn = f"Drawn by `python -m benchmarks.paper.plots benchmarks/results/{summary.name}.json`:"
    return f"{caption}\n\n{rows_of(header, rows)}\n\n{drawn}\n\n{picture}"


def probe(summary: Summary) -> str:
    """Trained exits against a linear probe of the same tokens, at half depth and at the end."""
    words, rows = Words(summary), []
    half = summary.head.layer // 2
    places = [("half depth", half, summary.best_at(half)), ("final", summary.head.layer, summary.head)]
    for place, layer, exit_ in places:
        if exit_ is not None:
            linear = summary.probe[layer]
            figures = (words.scores(exit_.test), words.value(linear), words.value(exit_.test.mean - linear, "+"))
            rows.append([f"{place}, layer {layer}", f"`{exit_.name}`", *figures])
    caption = (
        f"{words.caption(summary)} The probe is a {'logistic' if words.classify else 'ridge'} regression on the class "
        "token and the mean patch token, fitted on the same images. The early exit is the best at its layer on the "
        "calibration part."
    )
    header = ["where", "exit", words.metric, "linear probe", "exit - probe"]
    return f"{caption}\n\n{rows_of(header, rows, words=2)}"


def advice(summary: Summary) -> str:
    """The best set for every number of early exits."""
    words = Words(summary)
    sets, (low, high) = advise(summary, ADVISED)
    rows = []
    for number, best in enumerate(sets):
        if best is None:
            rows.append([str(number), "no set of so many pays", "", ""])
        else:
            names = ", ".join(f"`{name}`" for name in best.exits) or "the head alone"
            rows.append([str(number), names, words.value(best.expected), words.value(best.on_test)])
    nothing = "" if words.classify else f" --no-answer {no_answer(summary)}"
    what = "an accuracy of 0" if words.classify else "the error of always answering the mean"
    caption = (
        f"Every budget from {low:.2f} ms, the quickest exit's path, to {high:.2f} ms, one and a half times the whole "
        f"model's, is equally likely; where no exit fits, {what} is counted. The sets are chosen on the calibration "
        f"part. Also from `python -m benchmarks.paper.advice benchmarks/results/{summary.name}.json --out FILE` and "
        f"`offramp suggest FILE --exits {ADVISED}{nothing}`."
    )
    header = ["early exits", "the best set", f"expected {words.metric}", "on the test part"]
    return f"{caption}\n\n{rows_of(header, rows, words=2)}"


TABLES: dict[str, Callable[[Summary], str]] = {
    "quality": quality,
    "cost": cost,
    "frontier": frontier,
    "probe": probe,
    "advice": advice,
}


def image(name: str) -> str:
    """Where an experiment's plot lies, seen from docs/."""
    return f"images/frontier-{name}.svg"


def _named(branch: str) -> str:
    return branch.replace(":", " ")


def _range(values: Sequence[float], write: Callable[[float], str]) -> str:
    ends = dict.fromkeys((write(min(values)), write(max(values))))
    return " to ".join(ends)
