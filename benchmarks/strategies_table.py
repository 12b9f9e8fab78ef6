"""The table of `python -m benchmarks.strategies`."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.paper.tables import rows_of
from jetson.errors import BadInput
from jetson.files import storage


@dataclass(frozen=True)
class Run:
    """One training."""

    case: str
    seed: int
    test: dict[str, float]
    n: int
    seconds: float
    epochs: dict[str, int]


@dataclass(frozen=True)
class Recorded:
    """The whole file; other keys of it are passed over."""

    settings: dict[str, Any]
    runs: tuple[Run, ...]


def read(file: Path) -> Recorded:
    """Read the results.

    Raises:
        BadInput: they are not there, or it is another file.
        StorageError: it cannot be read.
    """
    with storage(file, "read"):
        if not file.exists():
            raise BadInput(f"{file} is not there; make it with: {command({})}")
        content = file.read_bytes()
    try:
        found = msgspec.json.decode(content, type=Recorded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: not the results of benchmarks.strategies ({error})") from None
    if not found.runs:
        raise BadInput(f"{file}: holds no runs")
    return found


def command(settings: dict[str, Any]) -> str:
    """The command that makes the results, every option named."""
    words = ["python -m benchmarks.strategies"]
    for key, value in settings.items():
        words.append(f"--{key.replace('_', '-')} {' '.join(map(str, value)) if isinstance(value, list) else value}")
    return " ".join([*words, "--work WORK --out benchmarks/results/strategies.json"])


def table(recorded: Recorded) -> str:
    """Rows of strategies, columns of exits."""
    cases = list(dict.fromkeys(run.case for run in recorded.runs))
    exits = list(recorded.runs[0].test)
    rows = []
    for case in cases:
        runs = [run for run in recorded.runs if run.case == case]
        phases = ", ".join(f"{count} {name}" for name, count in sorted(runs[0].epochs.items()))
        seconds = statistics.fmean(run.seconds for run in runs)
        rows.append([case, phases, *(_scores([run.test[e] for run in runs]) for e in exits), f"{seconds:.0f}"])
    seeds = len({run.seed for run in recorded.runs})
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    caption = f"Accuracy in % on {recorded.runs[0].n:,} test images, {over}."
    header = ["strategy", "epochs of each phase", *(f"`{e}`" for e in exits), "seconds"]
    return f"{caption}\n\n{rows_of(header, rows, words=2)}"


def _scores(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"
