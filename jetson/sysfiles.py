"""Files that Linux and JetPack keep about the device: small, of one line or a few, and not always there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILE_BYTES = 1 << 20
"""Of a file that are read; what is looked for stands in its first lines."""


def read_text(file: Path) -> str | None:
    """What a regular file says at its beginning, without the NUL that the device tree ends its strings with.

    None for a file that says nothing or cannot be read, and for anything else: a pipe would let us wait for ever.
    """
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        content = b""
        if stat.S_ISREG(os.fstat(handle).st_mode):
            while len(content) < FILE_BYTES and (chunk := os.read(handle, FILE_BYTES)):  # /proc gives a page at a time
                content += chunk
        return content.decode(errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None
    finally:
        os.close(handle)


def number(file: Path) -> float | None:
    """The number a file says; None when it says none or cannot be read."""
    text = read_text(file)
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
