"""The base of every record that is kept on disk."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of everything kept on disk: immutable, and strict about its keys."""
