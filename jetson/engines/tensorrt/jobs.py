"""What a worker process is told on stdin, and the lines it answers with. Paths are bytes: a name need not be text."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from jetson.engines.tensorrt.log import BadNode
from jetson.engines.tensorrt.records import Target
from jetson.manifest import Precision


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One ONNX file."""

    unit: str
    precision: Precision
    file: bytes
    input: str
    """Name of the one input."""
    shape: tuple[int, ...]
    """Of one frame."""
    output: str
    further: tuple[str, ...] = ()
    """Names of the other outputs."""

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(os.fsdecode(self.file))


class BuildJob(msgspec.Struct, frozen=True, kw_only=True, tag="build"):
    """Build one engine."""

    source: Source
    package: str
    target: Target
    max_batch: int
    optimization_level: int
    workspace_bytes: int
    engine: bytes
    """File to write, which is there and empty."""


class ParseJob(msgspec.Struct, frozen=True, kw_only=True, tag="parse"):
    """Run TensorRT's parser over files."""

    sources: tuple[Source, ...]
    package: str | None = None


Job = BuildJob | ParseJob


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """So much is done, 0..1."""

    share: float
    phase: str


class Said(msgspec.Struct, frozen=True, tag="said"):
    """TensorRT said something; sent at once, so that it is known when the worker dies."""

    text: str
    error: bool


class Built(msgspec.Struct, frozen=True, kw_only=True, tag="built"):
    """The engine is written and synced."""

    sha256: str
    size_bytes: int
    device_memory_bytes: int | None
    seconds: float


class Parsing(msgspec.Struct, frozen=True, tag="parsing"):
    """The parser takes up file number `index`."""

    index: int


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """What the parser found in it; no node and no reason when it can be built."""

    index: int
    nodes: tuple[BadNode, ...]
    reason: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The work failed and the worker ends."""

    reason: str
    nodes: tuple[BadNode, ...] = ()
    storage: bool = False
    """Whether it is about the disk, which concerns every other unit too."""
    missing: bool = False
    """Whether TensorRT is not installed."""


Answer = Progress | Said | Built | Parsing | Parsed | Failed
