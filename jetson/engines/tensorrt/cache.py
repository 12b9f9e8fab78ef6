"""The cache of built engines: one file per engine, named by a hash of all that shaped it, a fingerprint beside it.

Format and rules are documented in docs/reference/cache.md. A TensorRT plan is code. So only an engine whose
fingerprint, size and SHA-256 are right is ever handed out, and a folder that others may write to is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from jetson.manifest import Precision, Record

FORMAT = "offramp-engine"
VERSION = 1


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


class Cache:
    """A folder of engines."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder; nothing is created.

        Args:
            folder: `OFFRAMP_CACHE`, else `XDG_CACHE_HOME`/offramp/engines, else ~/.cache/offramp/engines when None.
        """
        raise NotImplementedError

    def find(self, key: Key) -> Entry | None:
        """The finished engine of a key; None when there is none, or what is there is damaged."""
        raise NotImplementedError

    def engine_for(
        self, unit: str, unit_sha256: str, precision: Precision, package: str, version: str, target: Target
    ) -> Entry:
        """The engine to load for a unit, whatever options it was built with: static batch first, then the newest.

        An engine for an RTX target serves a device of that compute capability when none was built on the device.

        Raises:
            EngineError: there is none, or what is there was built by another TensorRT, for another device, or is
                damaged. The message says which, and the one command that builds it.
        """
        raise NotImplementedError

    def read(self, entry: Entry) -> bytes:
        """The engine's bytes, once their SHA-256 is the fingerprint's.

        Raises:
            EngineError: the file is truncated or altered; the message names the command that builds it again.
        """
        raise NotImplementedError
