"""A graph of one input in ONNX Runtime, whatever else this process runs there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.errors import EngineError, first_line
from jetson.profiling.device import available_cores
from jetson.quiet import import_onnxruntime

Floats = npt.NDArray[np.float32]
GLOBAL_POOL = "global thread pool"
"""What ONNX Runtime's refusal of a pool of one's own names, once the process has one that all sessions share."""


class Session:
    """Runs frames through a graph."""

    def __init__(self, content: bytes, name: str | None = None) -> None:
        """Load a serialised model.

        Args:
            content: of one input, float32, whose first dimension is free or 1.
            name: of the unit, for messages; the graph's own when None.

        Raises:
            EngineError: ONNX Runtime cannot load it.
            MissingExtra: onnxruntime is not installed.
        """
        self._session = _open(content, name)
        self.name = name or self._session.get_modelmeta().graph_name
        self.source = self._session.get_inputs()[0].name
        self.outputs = [o.name for o in self._session.get_outputs()]
        self._one_by_one = self._session.get_inputs()[0].shape[:1] == [1]

    def run(self, batch: Floats, outputs: Sequence[str] | None = None) -> list[Floats]:
        """Run a batch; frame by frame where the graph takes one at a time.

        Args:
            batch: float32, (n, *the input's shape without its batch).
            outputs: which, by name; all when None.

        Returns:
            The outputs, (n, ...) each.

        Raises:
            EngineError: ONNX Runtime fails.
        """
        wanted = list(self.outputs if outputs is None else outputs)
        parts = [batch[i : i + 1] for i in range(len(batch))] if self._one_by_one else [batch]
        try:
            found = [self._session.run(wanted, {self.source: part}) for part in parts]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"unit {self.name} failed in ONNX Runtime: {first_line(error)}") from error
        return [np.concatenate(values) if len(values) > 1 else values[0] for values in zip(*found, strict=True)]


def _open(content: bytes, name: str | None) -> Any:
    """A session on threads of its own, or on those of the process where it may have none of its own.

    The first is tried first: it leaves open whether the process shall have a shared pool later.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = available_cores()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other sessions want the cores too
    for own in (True, False):
        options.use_per_session_threads = own
        try:
            return onnxruntime.InferenceSession(
                content,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # would print on stdout and try the same again
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if not (own and GLOBAL_POOL in str(error)):
                unit = f"unit {name}" if name else "a unit"
                raise EngineError(f"{unit}: ONNX Runtime cannot load it: {first_line(error)}") from error
    raise AssertionError("the second try returns or raises")
