"""The tables of the page, as plain text in rows; the template only lays them out."""

from __future__ import annotations

from dataclasses import dataclass

from jetson.manifest import Exit
from toolkit.report.formats import (
    NA,
    decimals_for,
    fixed,
    metric_name,
    quality,
    quantity,
    share,
    short,
)
from toolkit.report.gather import Run
from toolkit.report.palette import Style

PERCENTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Cell:
    """One cell. `note` stands below the text in small type; `full` is the whole of a text that was cut.

    `shade`, 0 to 1, is how strongly the cell is coloured; `strong` makes its text bold.
    `of` is the group of the key that shows and hides it.
    """

    text: str
    note: str = ""
    full: str = ""
    style: Style | None = None
    numeric: bool = True
    shade: float | None = None
    strong: bool = False
    of: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption and the classes of its columns."""

    caption: str
    header: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def exits_table(run: Run) -> Table:
    """Everything known of every exit, one row each."""
    exits = run.manifest.exits
    splits = list(dict.fromkeys(q.split for e in exits for q in e.quality))
    metric = metric_name(exits[0].quality[0].metric)
    level = exits[0].quality[0].level
    parameters = [sum(u.parameters for u in run.path_units(e)) / 1e6 for e in exits]
    flops = [sum(u.flops for u in run.path_units(e)) / 1e9 for e in exits]
    levels = PERCENTILES if run.profiles else ()
    times = [[float(run.exit_latency(e).end_to_end_ms.quantile(p)) for p in levels] for e in exits]
    of_parameters, of_flops = decimals_for(parameters), decimals_for(flops)
    of_times = decimals_for(t for row in times for t in row)
    header = (
        Cell("Exit", numeric=False),
        Cell("Layer"),
        Cell("Branch", numeric=False),
        Cell("Parameters", "M"),
        Cell("GFLOPs", "a frame"),
        *(Cell(metric.capitalize(), f"{split} split") for split in splits),
        *((Cell("Temperature"),) if run.classify else ()),
        *(Cell(f"p{round(100 * p)}", "ms") for p in levels),
        Cell("Difference", "to PyTorch"),
    )
    rows = tuple(
        (
            Cell(exit_.name, style=run.styles[exit_.name], numeric=False),
            Cell(str(exit_.layer)),
            Cell(exit_.architecture, numeric=False),
            Cell(fixed(parameters[i], of_parameters)),
            Cell(fixed(flops[i], of_flops)),
            *(_quality(exit_, split) for split in splits),
            *((Cell(fixed(exit_.temperature, 2)),) if run.classify else ()),
            *(Cell(fixed(t, of_times)) for t in times[i]),
            Cell(f"{exit_.max_difference:.1e}"),
        )
        for i, exit_ in enumerate(exits)
    )
    parity = run.manifest.parity
    quantiles = (
        "p50, p95, p99: end-to-end latency, from a host array to a host answer, when inference goes straight to the "
        "exit: half, 95% and 99% of the answers take no longer. "
        if run.profiles
        else ""
    )
    temperature = (
        "Temperature: what the exit's logits are divided by before they are read as probabilities. "
        if run.classify
        else ""
    )
    caption = (
        f"Parameters and GFLOPs are those of the whole path to the exit (two operations per multiply-add). "
        f"Below each {metric}: its {share(level).replace('.0', '')} interval and the number of samples. "
        f"{quantiles}{temperature}"
        f"Difference: the largest absolute difference between the exported units and PyTorch over "
        f"{parity.frames:,} frames of the {parity.split} split (tolerance {parity.tolerance:.0e})."
    )
    return Table(caption=caption, header=header, rows=rows)


def _quality(exit_: Exit, split: str) -> Cell:
    found = next((q for q in exit_.quality if q.split == split), None)
    if found is None:
        return Cell(NA)
    low, high = quality(found.low, found.metric).removesuffix("%"), quality(found.high, found.metric)
    return Cell(quality(found.value, found.metric), f"{low}–{high}, n {found.n:,}")


def scores_table(run: Run) -> Table | None:
    """What PyTorch scored after training; None when the history has no test."""
    scores = run.history.test if run.history else ()
    if not scores:
        return None
    rows = tuple(
        (
            Cell(s.exit, style=run.styles.get(s.exit), numeric=False),
            Cell(metric_name(s.metric), numeric=False),
            Cell(quality(s.value, s.metric)),
            Cell(f"{s.n:,}" if s.n is not None else NA),
        )
        for s in scores
    )
    header = (Cell("Exit", numeric=False), Cell("Metric", numeric=False), Cell("Test split"), Cell("n"))
    return Table("Scores of the trained model in PyTorch, before export.", header, rows)


def data_table(run: Run) -> Table | None:
    """The splits of the data set, with their content hashes."""
    data = run.manifest.provenance.data
    if data is None:
        return None
    rows = tuple(
        (
            Cell(name, numeric=False),
            Cell(f"{split.n:,}"),
            Cell(short(split.sha256), full=split.sha256, numeric=False),
        )
        for name, split in data.splits.items()
    )
    header = (Cell("Split", numeric=False), Cell("Samples"), Cell("SHA-256", numeric=False))
    return Table(f"Data: {data.name}.", header, rows)


def units_table(run: Run) -> Table:
    """The units of the bundle, as they lie on disk."""
    rows = tuple(
        (
            Cell(u.name, numeric=False),
            Cell(v.precision, numeric=False),
            Cell(quantity(v.size_bytes, "B")),
            Cell("×".join(map(str, u.input.shape)), numeric=False),
            Cell("×".join(map(str, u.output.shape)), numeric=False),
            Cell(short(v.sha256), full=v.sha256, numeric=False),
        )
        for u in run.manifest.filed
        for v in u.files
    )
    names = ("Unit", "Precision", "Size", "Input", "Output", "SHA-256")
    header = tuple(Cell(name, numeric=name == "Size") for name in names)
    return Table("Units of the bundle.", header, rows)
