"""Plain text as Markdown, and tables of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

CODE = re.compile(r"(`[^`]*`)")


def plain(text: str) -> str:
    """Text that may hold code between backticks, and nothing else that Markdown would take for its own."""
    parts = CODE.split(" ".join(text.split()))
    parts[::2] = [re.sub(r"([*_<>\[\]|~#])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def code(text: str) -> str:
    """A piece of code in a line or a cell."""
    return f"`{text}`" if text else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a cell is Markdown, in which a bar is escaped wherever it stands."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"
