"""frames.jsonl: what happened to every frame of a run, one JSON object a line, the summary as the last line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jetson.errors import DataError
from jetson.files import storage


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One line. Keys the report does not show are not read."""

    frame: int
    t_ms: float
    budget_ms: float | None = None
    exit: int = 0
    exit_name: str
    class_: int | None = msgspec.field(default=None, name="class")
    label: str | None = None
    value: tuple[float, ...] | None = None
    target: int | float | tuple[float, ...] | None = None
    correct: bool | None = None
    confidence: float | None = None
    elapsed_ms: float
    met_deadline: bool | None = None
    feasible: bool | None = None
    slowdown: float | None = None

    @property
    def late(self) -> bool:
        """The answer came after its budget."""
        return self.met_deadline is False

    @property
    def infeasible(self) -> bool:
        """Not even the shallowest exit could have met the budget."""
        return self.feasible is False


@dataclass(frozen=True)
class FrameLog:
    """All frames of a run, and its summary; the summary is None when the run was interrupted before its end."""

    frames: tuple[Frame, ...]
    summary: dict[str, Any] | None = field(default=None)

    @property
    def exits(self) -> tuple[str, ...]:
        """The exits that answered, by depth."""
        return tuple(name for _, name in sorted({(f.exit, f.exit_name) for f in self.frames}))

    def used(self, exits: tuple[str, ...]) -> dict[str, int]:
        """How many frames left at each of `exits`, in that order."""
        counts = dict.fromkeys(exits, 0)
        for frame in self.frames:
            counts[frame.exit_name] = counts.get(frame.exit_name, 0) + 1
        return counts


def read_frames(file: Path, exits: tuple[str, ...] | None) -> FrameLog:
    """Read a frame log.

    Args:
        file: frames.jsonl.
        exits: names of the bundle's exits; a frame that left elsewhere belongs to another bundle.
            None where no bundle is known.

    Raises:
        DataError: a line that is not JSON, lacks a key, or names an exit the bundle does not have.
        StorageError: the file cannot be read.
    """
    with storage(file, "read"):
        if not file.is_file():
            raise DataError(f"{file}: no such file; make one with: offramp run BUNDLE ... --record {file}")
        lines = file.read_bytes().splitlines()
    if not lines:
        raise DataError(f"{file}: empty; make the file again with: offramp run")
    decoder = msgspec.json.Decoder(Frame)
    frames: list[Frame] = []
    summary: dict[str, Any] | None = None
    known = set(exits) if exits is not None else None
    for number, line in enumerate(lines, start=1):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        if summary is not None:
            raise DataError(f"{where}: something follows the summary; the file holds more than one run")
        try:
            frame = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            summary = _summary(line)
            if summary is None:
                raise DataError(f"{where}: not a frame ({error}); make the file again with: offramp run") from None
            continue
        if known is not None and frame.exit_name not in known:
            raise DataError(f"{where}: the bundle has no exit {frame.exit_name!r}; the frames are another bundle's")
        frames.append(frame)
    return FrameLog(frames=tuple(frames), summary=summary)


def _summary(line: bytes) -> dict[str, Any] | None:
    try:
        content = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    summary = content.get("summary") if isinstance(content, dict) else None
    return summary if isinstance(summary, dict) else None
