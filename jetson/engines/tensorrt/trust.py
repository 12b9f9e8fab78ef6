"""Who may have written a file. A TensorRT plan is code: one that somebody else could have put there is not loaded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

ENTRY_MODE = 0o600
FOLDER_MODE = 0o700
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def distrust(status: os.stat_result, path: Path) -> str | None:
    """Why a file or folder may hold what another user wrote, and what mends it; None when it cannot.

    Args:
        status: of the file as opened, so that nobody changes it in between.
        path: its name, for the message.
    """
    if not hasattr(os, "geteuid"):  # not a POSIX system
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to another user (uid {status.st_uid})"
    if status.st_mode & OTHERS:
        return f"others may write to {path}; if you trust what is in it: chmod go-w {path}"
    return None
