"""Answer a stream of frames under a trace of budgets, and sum up how it went."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jetson.answer import Answer
from jetson.preprocessing import Images
from jetson.profiling.profile import LatencyProfile
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.trace import FrameBudget


def replay(
    runtime: Runtime,
    frames: Images,
    trace: Sequence[FrameBudget],
    profile: LatencyProfile,
    targets: Any = None,
    pace: bool = True,
    level: float = 0.95,
    hidden: bool = False,
    watch: Callable[[Answer], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Answer one frame per line of the trace; frames are taken in turn and start over at the end.

    Args:
        runtime: loaded.
        frames: uint8 height x width x channels each.
        trace: a budget per answer.
        profile: tells which budgets can be met at all.
        targets: int64 (n,) classes or float32 (n, outputs) values; None when they are not known.
        pace: wait for the moment `t_ms` of each line; without, frames follow one another at once.
        level: a budget counts as one that can be met when the quickest exit's latency at this quantile fits into it.
        hidden: the runtime is not told the budgets, but cut when they run out; what it had in hand then counts.
        watch: is given every answer, once it is known whether it met its budget.

    Yields:
        A record per frame, plain data: the answer, its budget, and whether it was right.
    """
    feasible_ms = min(float(e.end_to_end_ms.quantile(level)) for e in profile.exits)
    branches = {e.units[-1] for e in runtime.bundle.manifest.exits}
    began = clock()
    for number, line in enumerate(trace):
        index = number % len(frames)
        frame = frames[index]
        if pace and (wait := line.t_ms / 1e3 - (clock() - began)) > 0:
            time.sleep(wait)
        t_ms = (clock() - began) * 1e3
        answer = _infer_hidden(runtime, frame, line) if hidden else _infer(runtime, frame, line)
        record: dict[str, Any] = {"frame": number, "t_ms": t_ms, **answer.to_dict()}
        if hidden and line.final_ms < math.inf:
            met = answer.answered_ms <= line.final_ms
            answer = dataclasses.replace(answer, budget_ms=line.final_ms, met_deadline=met)
            record |= {"budget_ms": line.final_ms, "met_deadline": met}
        if watch is not None:
            watch(answer)
        told_ms = record["budget_ms"]
        record["feasible"] = None if told_ms is None else told_ms >= feasible_ms
        record["branches"] = sum(run.unit in branches for run in answer.trace)
        yield record | _judge(answer, None if targets is None else targets[index])


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of a run.

    Returns:
        `acc_at_d`: share of frames answered in time and right (classification with known targets);
        `mean_absolute_error` (regression); `miss_rate`: late among the budgets that can be met; `infeasible_share`:
        budgets that cannot; `late`: late frames in all; `mean_compute_ms`: time inside engines per frame;
        `branches_per_frame`; `exits`: how often each answered. What cannot be said is None.
    """
    judged = [r for r in records if r["correct"] is not None]
    errors = [r["error_abs"] for r in records if r["error_abs"] is not None]
    known = [r for r in records if r["met_deadline"] is not None]
    feasible = [r for r in known if r["feasible"]]
    elapsed = [r["elapsed_ms"] for r in records]
    return {
        "frames": len(records),
        "acc_at_d": _share(judged, lambda r: r["correct"] and r["met_deadline"] is not False),
        "accuracy": _share(judged, lambda r: r["correct"]),
        "mean_absolute_error": _mean(errors),
        "miss_rate": _share(feasible, lambda r: not r["met_deadline"]),
        "infeasible_share": _share(known, lambda r: not r["feasible"]),
        "late": sum(r["met_deadline"] is False for r in records),
        "mean_compute_ms": _mean([sum(u["host_ms"] for u in r["units"]) for r in records]),
        "branches_per_frame": _mean([r["branches"] for r in records]),
        "p50_ms": float(np.quantile(elapsed, 0.5)) if elapsed else None,
        "p99_ms": float(np.quantile(elapsed, 0.99)) if elapsed else None,
        "exits": dict(Counter(r["exit_name"] for r in records)),
    }


def _infer(runtime: Runtime, frame: Any, line: FrameBudget) -> Answer:
    budget = Budget.within(line.budget_ms)
    if line.revise_at_ms is None or line.revised_ms is None:
        return runtime.infer(frame, budget)
    timer = threading.Timer(line.revise_at_ms / 1e3, budget.revise, args=(line.revised_ms,))
    timer.start()
    try:
        return runtime.infer(frame, budget)
    finally:
        timer.cancel()
        timer.join()


def _infer_hidden(runtime: Runtime, frame: Any, line: FrameBudget) -> Answer:
    budget = Budget.unknown()
    if line.final_ms == math.inf:
        return runtime.infer(frame, budget)
    timer = threading.Timer(line.final_ms / 1e3, budget.cut)
    timer.start()
    try:
        return runtime.infer(frame, budget)
    finally:
        timer.cancel()
        timer.join()


def _judge(answer: Answer, target: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"target": None, "correct": None, "error_abs": None}
    if target is None:
        return found
    if answer.class_index is not None:
        return found | {"target": int(target), "correct": answer.class_index == int(target)}
    values = np.asarray(target, np.float64).ravel()
    error = float(np.abs(np.asarray(answer.value) - values).mean())
    return found | {"target": values.tolist(), "error_abs": error if math.isfinite(error) else None}


def _share(records: Sequence[dict[str, Any]], holds: Any) -> float | None:
    return sum(bool(holds(r)) for r in records) / len(records) if records else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
