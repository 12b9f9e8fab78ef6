"""Budget traces: when frames come and how long each answer may take, as CSV.

Columns `t_ms,budget_ms[,revise_at_ms,revised_ms]`: the moment a frame comes, its budget, and optionally a moment in
mid-inference (both from the frame's start) at which the budget becomes another. `inf` is no limit; the last two may
be empty.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from jetson.errors import BudgetError
from jetson.files import storage, write_file

COLUMNS = ("t_ms", "budget_ms")
LATEST_MS = 1e9
"""Moments beyond this (eleven days) are refused: nobody waits for them, and clocks cannot."""
REVISION = ("revise_at_ms", "revised_ms")


@dataclass(frozen=True)
class FrameBudget:
    """One line of a trace, in milliseconds."""

    t_ms: float
    budget_ms: float
    revise_at_ms: float | None = None
    revised_ms: float | None = None

    @property
    def final_ms(self) -> float:
        """The budget that holds in the end."""
        return self.budget_ms if self.revised_ms is None else self.revised_ms


def load_trace(path: Path) -> list[FrameBudget]:
    """Read a trace.

    Raises:
        BudgetError: another header, or a line that holds no budget; the message names the line.
        StorageError: the file cannot be read.
    """
    with storage(path, "read"):
        if not path.is_file():
            raise BudgetError(f"{path}: no such budget trace; it is a CSV file with the columns t_ms,budget_ms")
        content = path.read_bytes()
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BudgetError(f"{path}: not a CSV file ({error})") from None
    header = tuple(cell.strip() for cell in rows[0]) if rows else ()
    if header not in (COLUMNS, COLUMNS + REVISION):
        wanted = f"{','.join(COLUMNS)} or {','.join(COLUMNS + REVISION)}"
        raise BudgetError(f"{path}, line 1: the columns must be {wanted}, not {','.join(header)[:80] or 'nothing'}")
    trace: list[FrameBudget] = []
    for number, row in enumerate(rows[1:], start=2):
        if any(row):
            where = f"{path}, line {number}"
            trace.append(_line(row, len(header), where))
            if trace[-1].t_ms < max(f.t_ms for f in trace[-2:]):
                raise BudgetError(f"{where}: comes before the line above it; sort the lines by t_ms")
    if not trace:
        raise BudgetError(f"{path}: no frames in it")
    return trace


def save_trace(path: Path, trace: list[FrameBudget]) -> None:
    """Write a trace; the file appears whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    revised = any(f.revised_ms is not None for f in trace)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS + REVISION if revised else COLUMNS)
    for f in trace:
        cells = [f.t_ms, f.budget_ms] + ([f.revise_at_ms, f.revised_ms] if revised else [])
        writer.writerow(["" if c is None else repr(float(c)) for c in cells])
    write_file(path, text.getvalue())


def swing(low_ms: float, high_ms: float, frames: int, periods: float = 3.0, gap_ms: float = 0.0) -> list[FrameBudget]:
    """A budget that swings between two values, evenly on a logarithmic scale.

    Args:
        low_ms: the smallest budget.
        high_ms: the largest.
        frames: how many frames.
        periods: how many times it swings there and back.
        gap_ms: time between the end of one frame's budget and the next frame.

    Raises:
        BudgetError: a budget is not above 0 and finite.
    """
    if not (0 < low_ms < math.inf and 0 < high_ms < math.inf):
        raise BudgetError(f"budgets cannot swing between {low_ms:g} and {high_ms:g} ms")
    trace, t_ms = [], 0.0
    for index in range(frames):
        phase = (1 - math.cos(2 * math.pi * periods * index / max(frames - 1, 1))) / 2
        budget_ms = low_ms * (high_ms / low_ms) ** phase
        trace.append(FrameBudget(round(t_ms, 3), round(budget_ms, 6)))
        t_ms += budget_ms + gap_ms
    return trace


def _line(row: list[str], columns: int, where: str) -> FrameBudget:
    if len(row) != columns:
        raise BudgetError(f"{where}: {len(row)} cells, the header has {columns}")
    t_ms, budget_ms = (_milliseconds(cell, where) for cell in row[:2])
    if t_ms > LATEST_MS:
        raise BudgetError(f"{where}: t_ms must be at most {LATEST_MS:g}")
    revision = [cell.strip() for cell in row[2:]]
    if not any(revision):
        return FrameBudget(t_ms, budget_ms)
    at_ms, revised_ms = (_milliseconds(cell, where) for cell in revision)
    if at_ms > LATEST_MS:
        raise BudgetError(f"{where}: revise_at_ms must be at most {LATEST_MS:g}")
    return FrameBudget(t_ms, budget_ms, at_ms, revised_ms)


def _milliseconds(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise BudgetError(f"{where}: {cell!r} is not a number of milliseconds") from None
    if math.isnan(value) or value < 0:
        raise BudgetError(f"{where}: {cell.strip()} is not a time; budgets are 0 or more milliseconds, or inf")
    return value
