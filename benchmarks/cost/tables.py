"""The tables of docs/performance.md, by the benchmark that gives the figures."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.cost.record import command, read

NAMES = (
    "overhead",
    "cuts",
    "infer",
    "prediction",
    "peers",
    "cold",
    "building",
    "preprocessing",
    "streams",
    "batches",
    "growth",
)
"""Modules of this package with a `main`, and a `table` of what it recorded; `make bench` runs them in this order."""


def cost_table(name: str, results: Path) -> str:
    """A benchmark's table, after the command that made its figures."""
    recorded = read(results / f"cost-{name}.json")
    line = f"Raw data: `{command(recorded)}`; this table: `python -m benchmarks.tables cost-{name}`."
    made: str = importlib.import_module(f"benchmarks.cost.{name}").table(recorded)
    return f"{line}\n\n{made}"
