"""Bundles whose units take any number of frames, profiles that know of batches, and batches on a virtual clock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from jetson.bundle import Bundle
from jetson.errors import EngineError
from jetson.manifest import BATCH
from jetson.profiling.profile import BatchLatency, ExitLatency, LatencyProfile, Sketch
from tests.bundles import FakeEngines, edit_manifest


def any_number(bundle: Bundle) -> Bundle:
    """The bundle with the first axis of every unit left open, on disk."""
    changed: dict[str, dict[str, Any]] = {}
    for unit in bundle.manifest.filed:
        model = onnx.load(str(bundle.file(unit)))
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
        for tensor in model.graph.initializer:
            if tensor.name == "shape":
                kept = numpy_helper.to_array(tensor).copy()
                kept[0] = 0  # as it comes
                tensor.CopyFrom(numpy_helper.from_array(kept, "shape"))
        content = model.SerializeToString()
        bundle.file(unit).write_bytes(content)
        changed[unit.file] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    edit_manifest(bundle.path, lambda data: [u.update(changed[u["file"]], dynamic_batch=True) for u in data["units"]])
    return Bundle.open(bundle.path)


def with_batches(profile: LatencyProfile, shares: Mapping[int, float]) -> LatencyProfile:
    """The profile with batches that take such a share of their frames' time one by one, by size."""

    def scaled(sketch: Sketch, factor: float) -> Sketch:
        return Sketch(n=sketch.n, mean=sketch.mean * factor, quantiles=tuple(q * factor for q in sketch.quantiles))

    batches = tuple(
        BatchLatency(
            frames=size,
            units={n: scaled(u.end_to_end_ms, size * share) for n, u in profile.units.items()},
            exits=tuple(
                ExitLatency(name=e.name, end_to_end_ms=scaled(e.end_to_end_ms, size * share)) for e in profile.exits
            ),
            in_turn=tuple(ExitLatency(name=e.name, end_to_end_ms=scaled(e.end_to_end_ms, size)) for e in profile.exits),
        )
        for size, share in shares.items()
    )
    return msgspec.structs.replace(profile, batches=batches)


class FakeBatches:
    """`BatchEngines` beside engines on a virtual clock; a frame's first pixel tells whose answer it is."""

    def __init__(self, engines: FakeEngines, shares: Mapping[int, float]) -> None:
        self.engines, self.shares = engines, shares
        self.most = max(shares)
        self.ran: list[tuple[str, int]] = []
        self.fails: set[str] = set()
        self.spoilt: set[int] = set()
        self.pixels = np.zeros((self.most, *engines.input.shape[1:]), np.float32)

    def input(self, frames: int) -> np.ndarray:
        return self.pixels[:frames]

    def run(self, unit: int, frames: int) -> None:
        name = self.engines.names[unit]
        self.ran.append((name, frames))
        if name in self.fails:
            raise EngineError(f"unit {name} failed: no room for {frames}")
        self.engines.clock.advance(self.engines.ms[name] * frames * self.shares[frames] * self.engines.slow)
        self.engines.after(name)

    def output(self, unit: int, frames: int) -> np.ndarray:
        found = np.repeat(self.engines.outputs[unit], frames, axis=0)
        for place in self.spoilt & set(range(frames)):
            found[place] = np.nan
        return found

    def close(self) -> None:
        self.ran.append(("close", 0))
