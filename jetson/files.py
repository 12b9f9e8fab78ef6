"""Files that appear whole or not at all, and hashes of what is in them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jetson.beside import beside
from jetson.errors import StorageError

CHUNK_BYTES = 1 << 22
HASHERS = 2
"""Threads that hash files side by side; a disk seldom feeds more."""


@contextlib.contextmanager
def storage(path: Path, verb: str = "write") -> Iterator[None]:
    """Turn what the operating system says of `path` into one line.

    Raises:
        StorageError: for every `OSError` inside the block; a full disk says so and how to go on.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{path}: the disk is full; free some space and run the same command again") from error
        raise StorageError(f"cannot {verb} {path}: {error.strerror or error}") from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    digest = hashlib.sha256()
    with storage(path, "read"), path.open("rb", buffering=0) as stream:
        block = memoryview(bytearray(min(CHUNK_BYTES, os.fstat(stream.fileno()).st_size + 1)))
        while count := stream.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


def sha256_files(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file's content, several at a time.

    Raises:
        StorageError: one of them cannot be read.
    """
    found = dict.fromkeys(paths, "")
    left = iter(found)  # next() of it is one step, which threads may share

    def work() -> None:
        for path in left:
            found[path] = sha256_file(path)

    others = [beside(work) for _ in range(min(HASHERS, len(found)) - 1)]
    work()
    for other in others:
        other()
    return [found[p] for p in paths]


def check_writable(path: Path) -> None:
    """Find out before long work whether its result can be written to `path`; nothing is created.

    Raises:
        StorageError: `path` is a folder, or its folder cannot be written.
    """
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is there already and is no file")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"cannot write {path}: {folder} is no folder that can be written to")


def write_file(path: Path, content: bytes | str) -> None:
    """Write `content` under a temporary name in the same folder, then rename it to `path`; links are followed.

    Raises:
        StorageError: the folder cannot be written, the disk is full, or `path` is a device, a pipe or a folder;
            `path` is then as it was before.
    """
    with new_file(path) as write:
        write(content)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Callable[[bytes | str], None]]:
    """What writes a file piece by piece, which appears as `path` when the block ends well and vanishes otherwise.

    Raises:
        StorageError: as of `write_file`.
    """
    import tempfile  # with `random`, which loading a bundle has no use for

    temporary = ""
    try:
        with storage(path):
            target = Path(os.path.realpath(path))
            if target.exists() and not target.is_file():
                # Renaming onto /dev/null would replace the device.
                raise StorageError(f"cannot write {path}: it is there already and is no file")
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
            stream = os.fdopen(handle, "wb")
        try:

            def write(content: bytes | str) -> None:
                with storage(path):
                    stream.write(content.encode() if isinstance(content, str) else content)

            yield write
            with storage(path):
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            with contextlib.suppress(OSError):  # what it would say has been said by flush
                stream.close()
        with storage(path):
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
    except BaseException:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` when the block ends well and vanishes when it does not.

    What stood at `path` before is replaced as a whole at the end and kept until then; links are followed. What a
    killed process left half filled for the same `path` is removed first.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    import tempfile

    temporary: Path | None = None
    lock: int | None = None
    try:
        with storage(path):
            target = Path(os.path.realpath(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(target)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
            temporary.chmod(0o777 & ~_umask())
            lock = _lock(temporary)
        yield temporary
        with storage(path):
            _replace_folder(temporary, target)
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove folders that were being filled for `path` by processes that are no more."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
    for folder in path.parent.iterdir():
        if name.fullmatch(folder.name) and folder.is_dir() and (lock := _lock(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None when that cannot be had."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        return
    import tempfile

    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    try:
        os.rename(path, old / "was")
        os.rename(new, path)
    except BaseException:  # an interrupt between the two must not lose what stood there
        if (old / "was").exists() and not path.exists():
            os.rename(old / "was", path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
