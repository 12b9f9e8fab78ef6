"""CUDA graphs: a unit recorded once and launched whole, where that gives what the plain path gives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.cuda import Cuda, Graph
from jetson.engines.tensorrt.layout import Layout
from jetson.errors import CudaError, EngineError
from jetson.manifest import Precision

TOLERANCES: dict[Precision, float] = {"fp32": 1e-5, "fp16": 1e-3, "int8": 1e-3, "int8-fp16": 1e-3}
"""Largest difference allowed between replay and plain path, as a share of the plain path's largest output.

A graph launches the very kernels of the plain path, so the outputs are expected to be equal bit for bit. Some kernels
add partial sums in whatever order their blocks finish; between two runs of those, plain or replayed, the last bits
differ. These bounds let that pass and nothing else: a forgotten copy or a stale address is wrong in the first digit.
"""


@dataclass(frozen=True)
class Step:
    """A unit to record."""

    unit: int
    name: str
    precision: Precision
    enqueue: Callable[[], None]
    """Puts the unit, with its copies, into the stream on the plain path."""
    capturable: Callable[[], bool]
    """What TensorRT says, where it can be asked."""


def record_graphs(
    cuda: Cuda, layout: Layout, steps: Sequence[Step], remark: Callable[[str], None], stack: contextlib.ExitStack
) -> dict[int, Graph]:
    """Warm every unit up, record it, and hold the recording against the plain path on other input.

    Args:
        cuda: entered in this thread, with nothing in its stream.
        layout: the units' memory; input and outputs are overwritten.
        steps: all units, in an order in which they can run.
        remark: is told of each unit that stays on the plain path, and why.
        stack: is told how to free each graph.

    Returns:
        The graphs that can be trusted, by unit.

    Raises:
        EngineError: a unit fails on the plain path, or the device is lost.
    """
    rng = np.random.default_rng(0)
    graphs: dict[int, Graph] = {}
    layout.input[...] = rng.standard_normal(layout.input.shape)
    for step in steps:
        # The first run loads kernels and sets shapes up, which cannot be recorded; it also says which unit fails.
        _run(cuda, step, step.enqueue)
    for step in steps:
        if not step.capturable():
            remark(f"unit {step.name} runs without a CUDA graph: TensorRT says that it cannot be recorded")
            continue
        try:
            graph = cuda.capture(step.enqueue)
        except EngineError as error:
            remark(f"unit {step.name} runs without a CUDA graph: recording failed: {error}")
            continue
        stack.callback(graph.free)
        graphs[step.unit] = graph
    # Other input than before, and the replay first: a graph that misses a copy or holds on to what was there when it
    # was recorded must not pass. The plain path then leaves the right tokens for what comes behind.
    layout.input[...] = rng.standard_normal(layout.input.shape)
    for step in steps:
        replay, wrong = None, None
        if step.unit in graphs:
            try:
                replay = _outcome(cuda, layout, step, graphs[step.unit].launch)
            except EngineError as error:
                wrong = f"replaying failed: {error}"
        plain = _outcome(cuda, layout, step, step.enqueue)
        if replay is not None:
            wrong = _worst(plain, replay, step.precision)
        if wrong is not None:
            remark(f"unit {step.name} runs without a CUDA graph: {wrong}")
            graphs.pop(step.unit).free()
    layout.input[...] = 0
    return graphs


def _run(cuda: Cuda, step: Step, enqueue: Callable[[], None]) -> None:
    enqueue()
    try:
        cuda.synchronize()
    except CudaError as error:
        raise EngineError(f"unit {step.name} failed on the GPU: {error}") from error


def _outcome(cuda: Cuda, layout: Layout, step: Step, enqueue: Callable[[], None]) -> list[npt.NDArray[Any]]:
    """Everything that a unit writes."""
    written = layout.written[step.unit]
    for unit in written:
        layout.spoil(unit)
    _run(cuda, step, enqueue)
    return [np.array(layout.output(unit)) for unit in written]


def _worst(plain: list[npt.NDArray[Any]], replay: list[npt.NDArray[Any]], precision: Precision) -> str | None:
    """What is wrong with the first output that is."""
    found = (_difference(a, b, precision) for a, b in zip(plain, replay, strict=True))
    return next((wrong for wrong in found if wrong is not None), None)


def _difference(plain: npt.NDArray[Any], replay: npt.NDArray[Any], precision: Precision) -> str | None:
    """What is wrong with a replay; None when it is as good as the plain path."""
    if plain.tobytes() == replay.tobytes():
        return None
    bound = TOLERANCES[precision] * float(np.abs(plain).max())
    largest = float(np.abs(plain - replay).max())
    if largest <= bound:  # false for NaN too
        return None
    return f"its replay differs from the plain path by {largest:.3g}, more than {bound:.3g}"
