"""The table of `python -m benchmarks.clock`: policies on the real clock, and what simulation says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.paper.tables import rows_of
from jetson.errors import BadInput
from jetson.files import storage

SIMULATED = {"quiet, known": "stationary", "loaded, known": "contention", "quiet, hidden": "hidden"}
"""Which scenario stands beside which run. Nobody simulates the neighbours of this very machine."""


@dataclass(frozen=True)
class Recorded:
    """The whole file."""

    settings: dict[str, Any]
    data: str
    threads: int
    cores: int
    clock: dict[str, dict[str, dict[str, float | None]]]
    simulated: dict[str, dict[str, dict[str, float | None]]]


def read(file: Path) -> Recorded:
    """Read the results.

    Raises:
        BadInput: they are not there, or it is another file.
        StorageError: it cannot be read.
    """
    with storage(file, "read"):
        if not file.exists():
            raise BadInput(f"{file} is not there; make it with: {command(file.stem, {})}")
        content = file.read_bytes()
    try:
        return msgspec.json.decode(content, type=Recorded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: not the results of benchmarks.clock ({error})") from None


def command(name: str, settings: dict[str, Any]) -> str:
    """The command that makes the results."""
    words = ["python -m benchmarks.clock BUNDLE --profile PROFILE --data cifar10:FILE"]
    words += [f"--{key} {settings[key]}" for key in ("seconds", "seed") if key in settings]
    return " ".join([*words, f"--out benchmarks/results/{name}.json"])


def table(recorded: Recorded) -> str:
    """Rows of runs and policies."""
    rows = []
    for run, policies in recorded.clock.items():
        told = recorded.simulated.get(SIMULATED.get(run, ""), {})
        for policy, found in policies.items():
            beside = told.get(policy)
            rows.append(
                [
                    run,
                    f"`{policy}`",
                    _share(found["acc_at_d"]),
                    _share(beside["acc_at_d"]) if beside else "",
                    _share(found["miss_rate"], 2),
                    _share(beside["miss_rate"], 2) if beside else "",
                    f"{found['compute_ms']:.2f}",
                    f"{beside['compute_ms']:.2f}" if beside else "",
                    f"{found['branches_per_frame']:.2f}",
                    f"{found['frames']:,.0f}",
                ]
            )
    header = ["run", "policy", "acc@D %", "simulated", "missed %", "simulated", "compute ms", "simulated"]
    caption = (
        f"The shipped runtime on {recorded.cores} cores, ONNX Runtime with {recorded.threads} thread, data "
        f"{recorded.data}; policies take turns on every frame. Loaded: as many processes as cores compute on and off. "
        "Missed on the clock: of the budgets that the quickest exit's profiled 95 % quantile fits into, load or no "
        "load, so that under load some cannot be met; in simulation, of those that it could meet with the very draws."
    )
    return f"{caption}\n\n{rows_of([*header, 'branches a frame', 'frames'], rows, words=2)}"


def _share(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"
