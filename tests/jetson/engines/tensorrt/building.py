"""What the tests of building share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jetson.engines.tensorrt.build import Outcome, Task
from jetson.engines.tensorrt.cache import Cache, Entry, Fingerprint, Key, Target
from jetson.engines.tensorrt.jobs import Source
from jetson.files import sha256_file

SM86 = Target(kind="rtx", compute_capability=(8, 6))
ORIN = Target(kind="device", compute_capability=(8, 7), gpu="Orin", board="NVIDIA Jetson Orin Nano", jetpack="R36.4.3")


class Witness:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.shares: list[float] = []

    def started(self, task: Task) -> None:
        self.told.append(("started", task.source.unit))

    def progress(self, task: Task, share: float, phase: str) -> None:
        self.shares.append(share)

    def waiting(self, task: Task) -> None:
        self.told.append(("waiting", task.source.unit))

    def finished(self, outcome: Outcome) -> None:
        word = "failed" if outcome.entry is None else "cached" if outcome.cached else "built"
        self.told.append((word, outcome.task.source.unit))


def make_key(**changes: object) -> Key:
    given: dict[str, object] = {
        "unit_sha256": "ab" * 32,
        "precision": "fp32",
        "max_batch": 1,
        "optimization_level": 3,
        "workspace_bytes": 1 << 30,
        "package": "tensorrt",
        "version": "10.3.0",
        "target": ORIN,
        **changes,
    }
    return Key(**given)  # type: ignore[arg-type]


def make_task(file: Path, unit: str = "segment-1", shape: tuple[int, ...] = (1, 4), **changes: object) -> Task:
    source = Source(unit=unit, precision="fp32", file=os.fsencode(file), input="x", shape=shape, output="y")
    key = make_key(unit_sha256=sha256_file(file), **changes)
    return Task(source, file.stat().st_size, key)


def put(
    cache: Cache, content: bytes = b"engine", unit: str = "segment-1", created: str = "", **changes: object
) -> Entry:
    """Put an engine into the cache as a build does."""
    import hashlib

    key = make_key(**changes)
    cache.make_folder()
    with cache.locked(key) as mine:
        assert mine
        file = cache.new_file(key)
        file.write_bytes(content)
        fingerprint = Fingerprint(
            unit=unit,
            key=key,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            device_memory_bytes=None,
            seconds=1.0,
            created=created or "2025-01-02T03:04:05+00:00",
        )
        return cache.put(file, fingerprint)


def write_onnx(file: Path, operators: list[tuple[str, str]], batch: int | str = 1, width: int = 4) -> Path:
    """A graph from x to y through operators given as (type, node name); all but Tanh and Relu are made up."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, width]) for n in ("x", "y")]
    names = ["x", *(f"t{i}" for i in range(1, len(operators))), "y"]
    nodes = [
        helper.make_node(kind, [a], [b], name=name, domain="" if kind in ("Tanh", "Relu") else "odd")
        for (kind, name), a, b in zip(operators, names, names[1:], strict=False)
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(np.zeros(1), "unused")])
    sets = [helper.make_opsetid("", 20), helper.make_opsetid("odd", 1)]
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=10), str(file))
    return file


def names(folder: Path) -> list[str]:
    """Endings of what lies in a cache's folder."""
    return sorted(f.suffix for f in folder.iterdir())
