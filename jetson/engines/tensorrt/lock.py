"""A lock between processes that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` in the block; gives false, at once, when another process holds it.

    The file goes when the lock is given back. Whoever opened it before that holds a lock on a file without a name;
    so a lock counts only while the file still has its name.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield True
        return
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not _has_name(handle, path):
                continue
            try:
                yield True
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
            return
        finally:
            os.close(handle)


def _has_name(handle: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (os.fstat(handle).st_dev, os.fstat(handle).st_ino)
