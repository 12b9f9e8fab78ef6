"""Runs beside one another, and how often a run used each exit."""

from __future__ import annotations

import statistics

from toolkit.report.formats import NA, is_number, milliseconds, share, significant
from toolkit.report.frames import Frame, FrameLog
from toolkit.report.gather import Run
from toolkit.report.tables import Cell, Table


def runs_table(run: Run) -> Table:
    """A row per run."""
    header = (
        Cell("Run", numeric=False),
        Cell("Frames"),
        Cell("Budget", "median, ms"),
        Cell("Right and in time", "acc@D") if run.classify else Cell("Mean error", "absolute"),
        Cell("Miss rate"),
        Cell("Infeasible"),
        Cell("Median", "ms"),
        Cell("p99", "ms"),
        Cell("Computing", "ms a frame"),
    )
    return Table(_caption(run), header, tuple(_row(run, m.label, m.log) for m in run.logs))


def _caption(run: Run) -> str:
    first = "Right and in time: of all frames. " if run.classify else "Mean error: of the answers that came. "
    return (
        f"{first}Miss rate: late answers, of the budgets that the quickest exit can meet; infeasible: the budgets that "
        "it cannot meet. p99: 99% of the frames took no longer."
    )


def _row(run: Run, label: str, log: FrameLog) -> tuple[Cell, ...]:
    summary = log.summary or {}
    worth = share(summary.get("acc_at_d")) if run.classify else significant(summary.get("mean_absolute_error"))
    budgets = [f.budget_ms for f in log.frames if f.budget_ms is not None]
    times = sorted(f.elapsed_ms for f in log.frames)
    return (
        Cell(label, numeric=False),
        Cell(f"{len(log.frames):,}"),
        Cell(significant(statistics.median(budgets)) if budgets else NA),
        Cell(worth),
        Cell(share(summary.get("miss_rate"))),
        Cell(share(summary.get("infeasible_share"))),
        Cell(significant(statistics.median(times)) if times else NA),
        Cell(significant(times[int(0.99 * (len(times) - 1))]) if times else NA),
        Cell(milliseconds(summary.get("mean_compute_ms")).removesuffix(" ms")),
    )


def used_table(run: Run, log: FrameLog) -> Table:
    """A row per exit: how many frames it answered, how quickly and how well."""
    rows = []
    total = max(1, len(log.frames))
    for name, count in log.used(tuple(run.styles)).items():
        frames = [f for f in log.frames if f.exit_name == name]
        rows.append(
            (
                Cell(name, style=run.styles[name], numeric=False),
                Cell(f"{count:,}", shade=count / total),
                Cell(share(count / total)),
                Cell(significant(statistics.median(f.elapsed_ms for f in frames)) if frames else NA),
                Cell(_worth(run, frames)),
            )
        )
    worth = Cell("Right", "of these") if run.classify else Cell("Mean error", "absolute")
    header = (Cell("Exit", numeric=False), Cell("Frames"), Cell("Share"), Cell("Median", "ms"), worth)
    return Table("", header, tuple(rows))


def _worth(run: Run, frames: list[Frame]) -> str:
    if run.classify:
        judged = [f.correct for f in frames if f.correct is not None]
        return share(sum(judged) / len(judged)) if judged else NA
    errors = [e for f in frames if (e := _error(f)) is not None]
    return significant(statistics.fmean(errors)) if errors else NA


def _error(frame: Frame) -> float | None:
    """The mean absolute error of a frame's outputs; None where the truth is not known."""
    if not frame.value or frame.target is None:
        return None
    goal = frame.target if isinstance(frame.target, tuple) else (frame.target,)
    if len(goal) != len(frame.value) or not all(map(is_number, goal)):
        return None
    return statistics.fmean(abs(a - b) for a, b in zip(frame.value, goal, strict=True))
