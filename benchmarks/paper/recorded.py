"""The file that `python -m benchmarks.paper` writes, as far as tables and plots need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from jetson.errors import BadInput
from jetson.files import storage


@dataclass(frozen=True)
class Run:
    """One trained branch. Scores are accuracies or mean absolute errors."""

    layer: int
    architecture: str
    seed: int
    calibration: float
    test: float
    seconds: float
    """That its training took, on one core."""


@dataclass(frozen=True)
class Probe:
    """A linear probe's scores."""

    calibration: float
    test: float


@dataclass(frozen=True)
class Unit:
    """What one engine costs: median and 95 % quantile of its time, and its size."""

    ms: float
    p95_ms: float
    parameters: int
    flops: int


@dataclass(frozen=True)
class Latency:
    """What was measured on one machine."""

    units: dict[str, Unit]
    boundary_ms: float
    whole_ms: float
    preprocess_ms: float
    rounds: int
    threads: int


@dataclass(frozen=True)
class Data:
    """How many images each part has."""

    name: str
    train: int
    calibration: int
    test: int


@dataclass(frozen=True)
class Machine:
    """Where latency was measured."""

    processor: str


@dataclass(frozen=True)
class Recorded:
    """The whole file; other keys of it are passed over."""

    settings: dict[str, Any]
    data: Data
    task: Literal["classification", "regression"]
    mean_error: float | None
    machine: Machine
    runs: tuple[Run, ...]
    probe: dict[str, Probe]
    latency: Latency | None


def read(file: Path) -> Recorded:
    """Read one file.

    Raises:
        BadInput: it is none of these.
        StorageError: it cannot be read.
    """
    with storage(file, "read"):
        content = file.read_bytes()
    try:
        return msgspec.json.decode(content, type=Recorded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: not the results of benchmarks.paper ({error})") from None
