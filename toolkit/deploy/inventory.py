"""A file that names boards: TOML, or the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from jetson.errors import BadInput
from jetson.files import storage
from jetson.manifest import Precision


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board of the file. What it leaves out is as the command line has it."""

    address: str
    """`user@host`, or a name of ~/.ssh/config."""
    port: int | None = None
    ssh: tuple[str, ...] = ()
    """Further words for ssh."""
    folder: str | None = None
    python: str | None = None
    wheelhouse: str | None = None
    """Relative to the file."""
    engine: Literal["onnxruntime", "tensorrt"] | None = None
    precision: Precision | None = None
    target: str | None = None
    out: str | None = None
    """Where its profile goes, relative to the folder the command is run in."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    boards: dict[str, Entry]


def load_inventory(file: Path, names: Sequence[str] = ()) -> dict[str, Entry]:
    """Read the boards of a file.

    Args:
        file: to read.
        names: those that are wanted; all when empty.

    Raises:
        BadInput: it cannot be used, or lacks a board.
    """
    with storage(file, "read"):
        content = file.read_bytes()
    try:
        decode = msgspec.json.decode if file.suffix == ".json" else msgspec.toml.decode
        boards = decode(content, type=Inventory).boards
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: {error}") from None
    if not boards:
        raise BadInput(f'{file}: names no board; one looks so: [boards.orin] and below it address = "user@host"')
    for name in names:
        if name not in boards:
            raise BadInput(f"{file}: names no board {name}, but {', '.join(boards)}")
    return {name: boards[name] for name in names or boards}
