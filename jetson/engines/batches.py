"""ONNX Runtime on several frames at once: the same units in sessions of their own, whose batch is left open.

The sessions for one frame stay as they are. One more set serves every number of frames: a set for each would hold the
weights once more each and is no quicker.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.bundle import Bundle
from jetson.engines import onnxruntime as one
from jetson.errors import BadInput, EngineError, first_line


class OnnxRuntimeBatches:
    """`BatchEngines` on ONNX Runtime's CPU provider."""

    def __init__(self, bundle: Bundle, engines: one.OnnxRuntimeEngines, most: int) -> None:
        """Create the sessions, and memory for the largest batch.

        Args:
            bundle: of which `engines` are.
            engines: for one frame, whose precisions and threads these share.
            most: frames at once.

        Raises:
            BadInput: a unit takes one frame at a time.
            EngineError: ONNX Runtime cannot load a unit.
        """
        for unit in bundle.manifest.units:
            if not unit.dynamic_batch:
                raise BadInput(
                    f"unit {unit.name} takes one frame at a time, so batches cannot be had; "
                    "build the bundle again with: offramp build"
                )
        self.most = most
        self._bundle = bundle
        self._names = [u.name for u in bundle.manifest.units]
        self._memory = one.lay_out(bundle, most)
        self._first = bundle.manifest.units.index(bundle.manifest.segments[0])
        self._sessions = one.load(bundle, engines.precisions, engines.info.threads, frames=None)
        self._bindings: dict[int, list[Any]] = {}

    def input(self, frames: int) -> npt.NDArray[np.float32]:
        """What the first segment reads for so many frames."""
        return self._memory[self._first][0][:frames]

    def run(self, unit: int, frames: int) -> None:
        """Run a unit to its end; raises `EngineError` naming the unit when ONNX Runtime fails."""
        bindings = self._bindings.get(frames) or self._bind(frames)
        try:
            self._sessions[unit].run_with_iobinding(bindings[unit])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(
                f"unit {self._names[unit]} failed in ONNX Runtime on {frames} frames: {first_line(error)}"
            ) from error

    def output(self, unit: int, frames: int) -> npt.NDArray[Any]:
        """The array a unit writes to."""
        return self._memory[unit][1][:frames]

    def close(self) -> None:
        """Drop the sessions."""
        self._bindings.clear()
        self._sessions.clear()

    def _bind(self, frames: int) -> list[Any]:
        if not 1 <= frames <= self.most:
            raise EngineError(f"a batch of {frames} frames was not prepared, but of {self.most} at most")
        memory = [(source[:frames], target[:frames]) for source, target in self._memory]
        found = self._bindings[frames] = one.bind_all(self._bundle, self._sessions, memory)
        return found
