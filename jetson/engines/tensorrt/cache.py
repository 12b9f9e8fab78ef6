"""The cache of built engines: one file per engine, named by a hash of all that shaped it, a fingerprint beside it.

Format and rules are documented in docs/reference/cache.md. A TensorRT plan is code. So only an engine whose
fingerprint, size and SHA-256 are right is ever handed out, and a folder that others may write to is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from jetson.cache import cache_folder
from jetson.engines.tensorrt.choose import choose, rebuild
from jetson.engines.tensorrt.lock import try_lock
from jetson.engines.tensorrt.records import VERSION, Entry, Fingerprint, Found, Key, State, Target
from jetson.engines.tensorrt.trust import FOLDER_MODE, distrust
from jetson.errors import EngineError, StorageError
from jetson.files import CHUNK_BYTES, storage
from jetson.manifest import Precision

__all__ = ["Cache", "Entry", "Fingerprint", "Found", "Key", "Target"]

ENGINE, FINGERPRINT, UNFINISHED, LOCK = ".engine", ".json", ".part", ".lock"
MAX_FINGERPRINT_BYTES = 1 << 16
NEVER_FINISHED = "it was never finished"


class Cache:
    """A folder of engines."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder; nothing is created.

        Args:
            folder: `OFFRAMP_CACHE`, else `XDG_CACHE_HOME`/offramp/engines, else ~/.cache/offramp/engines when None.
        """
        self.folder = (folder if folder is not None else cache_folder("engines")).absolute()

    def find(self, key: Key) -> Entry | None:
        """The finished engine of a key, its SHA-256 checked; None when there is none, or what is there is damaged.

        Raises:
            StorageError: the cache's folder may hold what another user wrote, or cannot be read.
        """
        self._check_folder()
        fingerprint, _, why = self._inspect(key.digest)
        if fingerprint is None or why:
            return None
        entry = Entry(self.folder / (key.digest + ENGINE), fingerprint)
        try:
            with self._open(entry, None) as stream:
                digest = hashlib.sha256()
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
        except EngineError:
            return None
        return entry if digest.hexdigest() == fingerprint.sha256 else None

    def engine_for(
        self,
        unit: str,
        unit_sha256: str,
        precision: Precision,
        package: str,
        version: str,
        target: Target,
        bundle: Path | None = None,
    ) -> Entry:
        """The engine to load for a unit, whatever options it was built with: static batch first, then the newest.

        An engine for an RTX target serves a device of that compute capability when none was built on the device.

        Args:
            unit: its name, for messages.
            unit_sha256: of its ONNX file.
            precision: that it shall run in.
            package: the TensorRT that is here.
            version: its version.
            target: this device.
            bundle: for the command in the message; the word BUNDLE when None.

        Raises:
            EngineError: there is none, or what is there was built by another TensorRT, for another device, or is
                damaged. The message says which, and the one command that builds it.
            StorageError: the cache's folder may hold what another user wrote, or cannot be read.
        """
        self._check_folder()
        built = self.fingerprints(lambda f: (f.key.unit_sha256, f.key.precision) == (unit_sha256, precision))
        return choose(built, self.folder, unit, precision, package, version, target, bundle)

    def read(self, entry: Entry, bundle: Path | None = None) -> bytes:
        """The engine's bytes, once their SHA-256 is the fingerprint's.

        Raises:
            EngineError: the file is truncated or altered; the message names the command that builds it again.
        """
        with self._open(entry, bundle) as stream:
            content = stream.read()
        if hashlib.sha256(content).hexdigest() != entry.fingerprint.sha256:
            raise self._damaged(entry, bundle, "its SHA-256 is not the one that was built")
        return content

    def entries(self) -> list[Found]:
        """Everything in the cache, finished or not, by name; sizes are checked, hashes are not.

        Raises:
            StorageError: the cache's folder may hold what another user wrote, or cannot be read.
        """
        self._check_folder()
        return [found for digest, files in sorted(self._by_digest().items()) for found in self._look(digest, files)]

    def make_folder(self) -> None:
        """Create the folder, for this user alone.

        Raises:
            StorageError: that fails, or the folder that is there may hold what another user wrote.
        """
        with storage(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        self._check_folder()
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise StorageError(f"cannot write to the engine cache {self.folder}; name another folder with --cache")

    @contextlib.contextmanager
    def locked(self, key: Key) -> Iterator[bool]:
        """Hold a key's lock in the block, so that one process builds it; gives false when another one holds it."""
        with storage(self.folder), try_lock(self.folder / (key.digest + LOCK)) as mine:
            yield mine

    def new_file(self, key: Key) -> Path:
        """An empty file that the engine is to be written to; removes what killed builds of the key left. Lock first."""
        with storage(self.folder):
            for file in self._by_digest().get(key.digest, []):
                if file.suffix == UNFINISHED:
                    file.unlink(missing_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{key.digest}.", suffix=UNFINISHED, dir=self.folder)
            os.close(handle)
        return Path(name)

    def put(self, file: Path, fingerprint: Fingerprint) -> Entry:
        """Take a written engine into the cache; its fingerprint comes last. Lock first.

        Args:
            file: from `new_file`, written and synced.
            fingerprint: of it.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the engine is then not in the cache.
        """
        digest = fingerprint.key.digest
        engine, record = self.folder / (digest + ENGINE), self.folder / (digest + FINGERPRINT)
        handle, name = -1, ""
        with storage(record):
            try:
                handle, name = tempfile.mkstemp(prefix=f".{digest}.", suffix=UNFINISHED, dir=self.folder)
                with os.fdopen(handle, "wb") as stream:
                    stream.write(msgspec.json.format(msgspec.json.encode(fingerprint), indent=2) + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                record.unlink(missing_ok=True)  # what it said of an older engine is not true of this one
                os.replace(file, engine)
                _sync(self.folder)
                os.replace(name, record)
                _sync(self.folder)
            except BaseException:
                for left in filter(None, (name, str(file))):
                    with contextlib.suppress(OSError):
                        os.unlink(left)
                raise
        return Entry(engine, fingerprint)

    def remove(self, found: Found) -> bool:
        """Remove what lies under one name; false when another process is building it.

        Raises:
            StorageError: the folder cannot be written.
        """
        lock = self.folder / (found.digest + LOCK)
        with storage(self.folder), try_lock(lock) as mine:
            if mine:
                # The fingerprint first: what is left after an interrupt is unfinished, not damaged.
                for file in sorted(found.files, key=lambda f: f.suffix != FINGERPRINT):
                    file.unlink(missing_ok=True)
        return mine

    def fingerprints(self, select: Callable[[Fingerprint], bool]) -> list[tuple[Entry, str]]:
        """Every entry whose fingerprint can be read and is selected, with what is wrong with it or an empty text."""
        found = []
        for digest, files in self._by_digest().items():
            if any(f.suffix == FINGERPRINT for f in files):
                fingerprint, _, why = self._inspect(digest)
                if fingerprint is not None and select(fingerprint):
                    found.append((Entry(self.folder / (digest + ENGINE), fingerprint), why))
        return found

    def sweep_locks(self) -> None:
        """Remove lock files that killed processes have left.

        Raises:
            StorageError: the folder cannot be written.
        """
        with storage(self.folder):
            for file in self.folder.glob("*" + LOCK):
                with try_lock(file):  # giving a lock back removes it
                    pass

    def _look(self, digest: str, files: list[Path]) -> Iterator[Found]:
        """What was begun and not finished is one thing, what stood there before is another."""
        finished = tuple(f for f in files if f.suffix != UNFINISHED)
        begun = tuple(f for f in files if f.suffix == UNFINISHED)
        if finished:
            fingerprint, state, why = self._inspect(digest)
            yield Found(digest, finished, _size_bytes(finished), state, why, fingerprint)
        if begun:
            yield Found(digest, begun, _size_bytes(begun), "unfinished", NEVER_FINISHED, None)

    def _inspect(self, digest: str) -> tuple[Fingerprint | None, State, str]:
        """What a fingerprint says, if it can be believed, and what is wrong with it or its engine."""
        record, engine = self.folder / (digest + FINGERPRINT), self.folder / (digest + ENGINE)
        try:
            with _regular(record) as stream:
                if unsafe := distrust(os.fstat(stream.fileno()), record):
                    return None, "unsafe", unsafe
                content = stream.read(MAX_FINGERPRINT_BYTES)
            fingerprint = msgspec.json.decode(content, type=Fingerprint)
            if fingerprint.version != VERSION or fingerprint.key.digest != digest:
                return None, "damaged", "its fingerprint is of another engine or format"
        except FileNotFoundError:
            return None, "unfinished", NEVER_FINISHED
        except (OSError, ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
            return None, "damaged", "its fingerprint cannot be read"
        try:
            with _regular(engine) as stream:
                status = os.fstat(stream.fileno())
        except OSError:
            return fingerprint, "damaged", "its engine is missing"
        if unsafe := distrust(status, engine):
            return fingerprint, "unsafe", unsafe
        if status.st_size != fingerprint.size_bytes:
            return fingerprint, "damaged", f"it has {status.st_size} bytes and should have {fingerprint.size_bytes}"
        return fingerprint, "ok", ""

    @contextlib.contextmanager
    def _open(self, entry: Entry, bundle: Path | None) -> Iterator[BinaryIO]:
        self._check_folder()
        try:
            with _regular(entry.path) as stream:
                status = os.fstat(stream.fileno())
                if unsafe := distrust(status, entry.path):
                    raise self._damaged(entry, bundle, unsafe)
                expected = entry.fingerprint.size_bytes
                if status.st_size != expected:
                    raise self._damaged(entry, bundle, f"it has {status.st_size} bytes and should have {expected}")
                yield stream
        except OSError as error:
            raise self._damaged(entry, bundle, f"it cannot be read: {error.strerror or error}") from error

    def _damaged(self, entry: Entry, bundle: Path | None, why: str) -> EngineError:
        print_ = entry.fingerprint
        command = rebuild(print_.key.precision, print_.key.target, bundle)
        return EngineError(
            f"the engine of unit {print_.unit} in {print_.key.precision} cannot be used: {why}; "
            f"build it again: {command}"
        )

    def _by_digest(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        with storage(self.folder, "read"):
            if not self.folder.exists():
                return found
            for file in self.folder.iterdir():
                digest = file.name.lstrip(".").partition(".")[0]
                known = file.suffix in (ENGINE, FINGERPRINT, UNFINISHED)
                if known and len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
                    found.setdefault(digest, []).append(file)
        return found

    def _check_folder(self) -> None:
        with storage(self.folder, "read"):
            try:
                status = self.folder.stat()
            except FileNotFoundError:
                return
        if not stat.S_ISDIR(status.st_mode):
            raise StorageError(f"the engine cache {self.folder} is no folder; name another with --cache")
        if unsafe := distrust(status, self.folder):
            raise StorageError(f"engines are code, and the engine cache cannot be trusted: {unsafe}")


@contextlib.contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; a pipe would let us wait for ever."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no file")
        yield stream


def _size_bytes(files: tuple[Path, ...]) -> int:
    size = 0
    for file in files:
        with contextlib.suppress(OSError):  # another process may just have finished it
            size += file.stat().st_size
    return size


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
