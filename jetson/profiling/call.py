"""What one call of an engine takes beside the unit's own work: what a unit more costs, and fusing two of them saves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jetson.quiet import import_onnxruntime

CALLS, LEAST_CALLS, SECONDS = 200, 10, 2.0
"""So many, or as many as that time allows, but not fewer than the least."""
NOTHING = (
    b'\x08\n:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x14"
)
"""An ONNX model, serialised: y is x, one float32."""


def call_ms(engine: str, before: Callable[[], object]) -> float | None:
    """The median time of a call that computes nothing, milliseconds.

    Args:
        engine: that is loaded in this process.
        before: runs ahead of every call, untimed: a unit, which leaves the caches as units leave them to one another.

    Returns:
        None for an engine with a GPU: there the time between two events tells what was not the unit's own work.
    """
    return _onnxruntime(before) if engine == "onnxruntime" else None


def _onnxruntime(before: Callable[[], object]) -> float:
    ort = import_onnxruntime()

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.use_per_session_threads = not hasattr(ort, "set_global_thread_pool_sizes")
    session: Any = ort.InferenceSession(NOTHING, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    values = np.zeros((2, 1), np.float32)
    for bind, name, value in ((binding.bind_input, "x", values[0]), (binding.bind_output, "y", values[1])):
        bind(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
    session.run_with_iobinding(binding)
    took: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(took) < LEAST_CALLS or (len(took) < CALLS and time.perf_counter() < until):
        before()
        began = time.perf_counter()
        session.run_with_iobinding(binding)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1e3
