"""Asking the board: one request after another over a connection's pipes."""

from __future__ import annotations

import collections
import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from jetson.errors import WorkFailed
from toolkit.deploy.ssh import Lost

CHUNK = 1 << 18
WINDOW = 16
"""Pieces on their way before an answer is waited for: a slow line stays full, and an answer never blocks one."""


class Refused(WorkFailed):
    """The board cannot do what it was asked."""


class Ends(Protocol):
    """What a connection gives."""

    stdin: IO[bytes]
    stdout: IO[bytes]

    def why(self) -> Exception:
        """The error for a connection that has ended."""
        ...

    def kill(self) -> None:
        """End it from another thread."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Link:
    """A connection to our program on a board."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def ask(self, do: str, **arguments: Any) -> Any:
        """One request, one answer.

        Raises:
            Refused: the board says why not.
            Lost: the connection ended.
        """
        self._send(do, arguments)
        return self._hear()[0]

    def put(self, path: Path, sha256: str, offset: int, progress: Callable[[int], None]) -> None:
        """Copy a file's bytes from `offset` on, and let the board check the whole.

        Args:
            path: here.
            sha256: of the whole.
            offset: so much of it is there already.
            progress: is told how many more bytes have arrived.

        Raises:
            Refused: the disk is full, or what arrived is something else.
            Lost: the connection ended; what has arrived stays.
        """
        away: collections.deque[int] = collections.deque()

        def arrived() -> None:
            self._hear()
            progress(away.popleft())

        with path.open("rb") as stream:
            stream.seek(offset)
            while (piece := stream.read(CHUNK)) or offset == 0:
                self._send("put", {"sha256": sha256, "offset": offset}, piece)
                away.append(len(piece))
                offset += len(piece)
                if not piece:
                    break
                if len(away) >= WINDOW:
                    arrived()
        while away:
            arrived()
        if not self.ask("finish", sha256=sha256):
            raise Refused(f"{path} arrived damaged, or was changed while it was copied; run the same command again")

    def get(self, path: str) -> bytes:
        """A whole file of the board's folder."""
        content = bytearray()
        while True:
            self._send("get", {"path": path, "offset": len(content)})
            piece = self._hear()[1]
            if not piece:
                return bytes(content)
            content += piece

    def follow(self, job: str, offsets: dict[str, int], heard: Callable[[str, bytes], None]) -> int | None:
        """Hear what work on the board prints, until it has ended.

        Args:
            job: its name.
            offsets: of `out` and `err`, from which on to hear; they move on, for the next connection.
            heard: is told the stream's name and a piece.

        Returns:
            Its exit code; None when it was killed.
        """
        self._send("follow", {"job": job, **offsets})
        while True:
            answer, piece = self._hear()
            if "stream" not in answer:
                code: int | None = answer["code"]
                return code
            if piece:
                offsets[answer["stream"]] += len(piece)
                heard(answer["stream"], piece)

    def kill(self) -> None:
        """End the connection from another thread."""
        self._ends.kill()

    def close(self) -> None:
        """End the connection."""
        self._ends.close()

    def _send(self, do: str, arguments: dict[str, Any], payload: bytes | None = None) -> None:
        request = {"do": do, **arguments} | ({} if payload is None else {"bytes": len(payload)})
        try:
            self._ends.stdin.write(json.dumps(request).encode() + b"\n" + (payload or b""))
            self._ends.stdin.flush()
        except (OSError, ValueError):  # ValueError: another thread has closed it
            raise self._ends.why() from None

    def _hear(self) -> tuple[Any, bytes]:
        try:
            line = self._ends.stdout.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
            size = answer.get("bytes", 0) if answer else 0
            payload = self._ends.stdout.read(size) if size else b""
        except (OSError, ValueError):
            raise self._ends.why() from None
        if answer is None or len(payload) < size:
            raise self._ends.why()
        if "refused" in answer:
            full = answer["errno"] in (errno.ENOSPC, errno.EDQUOT)
            raise Refused(
                "the board's disk is full; free some space and run the same command again"
                if full
                else answer["refused"]
            )
        return answer["answer"], payload


def prefix_sha256(path: Path, size: int) -> str:
    """SHA-256 of a file's first bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while size and (block := stream.read(min(size, CHUNK))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


__all__ = ["Link", "Lost", "Refused", "prefix_sha256"]
