"""The records of the engine cache: what an engine is built for, what shaped it, what lies where."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from jetson.manifest import Precision
from jetson.record import Record

FORMAT = "offramp-engine"
VERSION = 1
State = Literal["ok", "damaged", "unfinished", "unsafe"]


class Target(Record, frozen=True, kw_only=True):
    """What an engine is built for: the device it is built on, or any RTX GPU of one compute capability."""

    kind: Literal["device", "rtx"]
    compute_capability: tuple[int, int]
    gpu: str | None = None
    """The GPU's name; None for an RTX target, as are the two below."""
    board: str | None = None
    """As the device tree has it; None where there is none."""
    jetpack: str | None = None
    """The L4T release; None off a Jetson."""

    @property
    def sm(self) -> str:
        """The compute capability as NVIDIA's tools write it, e.g. `sm86`."""
        return "sm{}{}".format(*self.compute_capability)

    def __str__(self) -> str:
        """For people."""
        if self.kind == "rtx":
            return f"RTX GPUs, {self.sm}"
        words = [self.board, self.gpu, self.sm, self.jetpack]
        return ", ".join(w for w in words if w)

    def serves(self, device: Target) -> bool:
        """Whether an engine built for this target runs on `device`."""
        return self == device or (self.kind == "rtx" and self.compute_capability == device.compute_capability)


class Key(Record, frozen=True, kw_only=True):
    """Everything that shapes an engine."""

    unit_sha256: str
    """Of the unit's ONNX file."""
    precision: Precision
    max_batch: int
    optimization_level: int
    workspace_bytes: int
    package: str
    """`tensorrt` or `tensorrt_rtx`."""
    version: str
    target: Target

    @property
    def digest(self) -> str:
        """SHA-256 over all of it; the engine's file name."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Fingerprint(Record, frozen=True, kw_only=True):
    """What lies beside an engine; written last, so that an engine without one was never finished."""

    format: Literal["offramp-engine"] = "offramp-engine"
    version: int = VERSION
    unit: str
    key: Key
    sha256: str
    size_bytes: int
    device_memory_bytes: int | None
    """Scratch the engine asks for, when the builder could tell."""
    seconds: float
    """That the build took."""
    created: str


@dataclass(frozen=True)
class Entry:
    """An engine in the cache."""

    path: Path
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Found:
    """What lies under one name in the cache, whether it can be used or not."""

    digest: str
    files: tuple[Path, ...]
    size_bytes: int
    state: State
    why: str
    """What is wrong with it; empty when nothing is."""
    fingerprint: Fingerprint | None
