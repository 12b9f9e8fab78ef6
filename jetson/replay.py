"""Answer frames one after another, each within its budget, and sum up how it went."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jetson.answer import Answer
from jetson.frames.frame import Frame
from jetson.frames.pictures import Pictures
from jetson.frames.stream import Stream
from jetson.preprocessing import Images
from jetson.profiling.profile import LatencyProfile
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.trace import FrameBudget
from jetson.streams import since_call
from jetson.tally import Tally


class Answered(NamedTuple):
    """A frame's answer."""

    record: dict[str, Any]
    """All of it as plain data; docs/guide/run.md has the keys."""
    answer: Answer
    frame: Frame
    line: FrameBudget
    """Its budget."""


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
    source = Stream(Pictures(frames, targets=targets, repeat=True), beside=False)
    for found in answer_each(runtime, on_trace(source, trace, pace), profile, level, hidden):
        if watch is not None:
            watch(found.answer)
        yield found.record


def on_trace(frames: Iterable[Frame], trace: Iterable[FrameBudget], pace: bool) -> Iterator[tuple[Frame, FrameBudget]]:
    """A frame for every line of a trace, as long as there are both.

    Args:
        frames: in their order.
        trace: the budgets.
        pace: wait for the moment of each line.
    """
    began = clock()
    source = iter(frames)
    for line in trace:
        frame = next(source, None)
        if frame is None:
            return
        if pace and (wait := line.t_ms / 1e3 - (clock() - began)) > 0:
            time.sleep(wait)
        yield frame, line


def on_budget(frames: Iterable[Frame], budget_ms: float | None) -> Iterator[tuple[Frame, FrameBudget]]:
    """The same budget for every frame; None is no limit."""
    line = FrameBudget(0.0, math.inf if budget_ms is None else budget_ms)
    return zip(frames, itertools.repeat(line), strict=False)


def answer_each(
    runtime: Runtime,
    frames: Iterable[tuple[Frame, FrameBudget]],
    profile: LatencyProfile,
    level: float = 0.95,
    hidden: bool = False,
) -> Iterator[Answered]:
    """Answer frames as they come.

    Args:
        runtime: loaded.
        frames: each with its budget, which counts from when the frame came, or from its turn when it was there all
            along. So do the times of its answer.
        profile: tells which budgets can be met at all.
        level: as of `replay`.
        hidden: as of `replay`.
    """
    feasible_ms = min(float(e.end_to_end_ms.quantile(level)) for e in profile.exits)
    branches = {e.units[-1] for e in runtime.bundle.manifest.exits}
    began = clock()
    for number, (frame, line) in enumerate(frames):
        budget = Budget.unknown() if hidden else _limit(frame, line.budget_ms)
        turn = clock()
        since = turn if frame.arrived is None else frame.arrived
        answer = _infer(runtime, frame, line, budget, turn)
        if frame.arrived is not None:
            answer = since_call(answer, turn - since, budget.deadline(turn) - since, runtime.late)
        if hidden and line.final_ms < math.inf:
            met = answer.answered_ms <= line.final_ms
            answer = dataclasses.replace(answer, budget_ms=line.final_ms, met_deadline=met)
        told_ms = answer.budget_ms
        yield Answered(
            {
                "frame": number,
                "t_ms": (since - began) * 1e3,
                "name": frame.name,
                "source_frame": frame.number,
                "source_ms": frame.source_ms,
                "dropped": frame.dropped,
                **answer.to_dict(),
                "waited_ms": answer.waited_ms,
                "feasible": None if told_ms is None else told_ms >= feasible_ms,
                "branches": sum(run.unit in branches for run in answer.trace),
                **_judge(answer, frame.target),
            },
            answer,
            frame,
            line,
        )


def summarise(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The figures of a run.

    Returns:
        `acc_at_d`: share of frames answered in time and right (classification with known targets);
        `mean_absolute_error` (regression); `miss_rate`: late among the budgets that can be met; `infeasible_share`:
        budgets that cannot; `late`: late frames in all; `dropped`: frames that came while the device was busy, and
        were not answered; `unreadable`: images that could not be decoded; `seconds`: from the first frame to the last
        answer; `mean_compute_ms`: time inside engines per frame; `branches_per_frame`; `exits`: how often each
        answered. What cannot be said is None.
    """
    tally = Tally()
    for record in records:
        tally.add(record)
    return tally.summary()


def _limit(frame: Frame, budget_ms: float) -> Budget:
    return dataclasses.replace(frame, budget_ms=budget_ms).budget


def _infer(runtime: Runtime, frame: Frame, line: FrameBudget, budget: Budget, turn: float) -> Answer:
    if budget.kind == "unknown":
        if line.final_ms == math.inf:
            return runtime.infer(frame.image, budget)
        return _timed(runtime, frame, budget, line.final_ms, turn, budget.cut)
    if line.revise_at_ms is None or line.revised_ms is None:
        return runtime.infer(frame.image, budget)
    if frame.arrived is None:
        return _timed(runtime, frame, budget, line.revise_at_ms, turn, lambda: budget.revise(line.revised_ms))
    until = frame.arrived + line.revised_ms / 1e3
    return _timed(runtime, frame, budget, line.revise_at_ms, turn, lambda: budget.revise(until=until))


def _timed(
    runtime: Runtime, frame: Frame, budget: Budget, after_ms: float, turn: float, act: Callable[[], None]
) -> Answer:
    """Answer a frame, and act so long after it came, if it is not answered by then."""
    waited = 0.0 if frame.arrived is None else turn - frame.arrived
    timer = threading.Timer(max(0.0, after_ms / 1e3 - waited), act)
    timer.start()
    try:
        return runtime.infer(frame.image, budget)
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
