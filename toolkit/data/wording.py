"""Words that come from a damaged file or a foreign exception, made fit for a message of one line."""

from __future__ import annotations

import re

_LONGEST = 160


def one_line(what: object) -> str:
    """An exception, or text out of a file: no line breaks, control characters or addresses, and of bounded length."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", str(what))
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not words and isinstance(what, BaseException):
        return type(what).__name__
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
