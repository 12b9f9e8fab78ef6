"""Commands on a board that outlive the connection, and what they print about their progress."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from jetson.errors import WorkFailed
from toolkit.deploy.link import Link
from toolkit.deploy.ssh import Lost

ENVIRONMENT = {"OFFRAMP_PROGRESS": "json", "OFFRAMP_CONFIG": "/dev/null", "NO_COLOR": "1"}
"""A config file on the board is for who works there: what runs is what the command here says."""
Told = Callable[[float | None, str], None]
"""Is told the share done, or None, and in words what is being done."""


class Job:
    """One command, across connections."""

    def __init__(self, name: str, words: Sequence[str], *shaped_by: str) -> None:
        """Describe it.

        Args:
            name: on the board.
            words: the command.
            shaped_by: what else its result depends on; with the command it says whether work that is found on the
                board is this one.
        """
        self.name, self.words = name, list(words)
        self.key = hashlib.sha256(json.dumps([*words, *shaped_by]).encode()).hexdigest()
        self._begun = False
        self._clear()

    def _clear(self) -> None:
        self._offsets = {"out": 0, "err": 0}
        self._out, self._half, self._last = b"", b"", ""

    def run(self, link: Link, told: Told) -> bytes:
        """Begin it or find it, and hear it to its end.

        Args:
            link: to the board.
            told: what it says of its progress.

        Returns:
            What it printed.

        Raises:
            Lost: the connection ended; call this again with a new one. Or the command was killed.
            WorkFailed: it failed; the message is its own.
        """
        job = {"job": self.name, "key": self.key, "words": self.words, "environment": ENVIRONMENT}
        if link.ask("start", **job, known=self._begun) == "started":
            self._clear()
        self._begun = True

        def heard(stream: str, piece: bytes) -> None:
            if stream == "out":
                self._out += piece
                return
            *lines, self._half = (self._half + piece).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"), told)

        code = link.follow(self.name, self._offsets, heard)
        if self._half:
            self._take(self._half.decode(errors="replace"), told)
            self._half = b""
        if code is None:
            raise Lost(f"{self.name} was ended on the board before it was done")
        if code:
            link.ask("forget", job=self.name)
            raise WorkFailed(f"{self.name}: {self._last or f'exit code {code}, and not a word'}")
        return self._out

    def _take(self, line: str, told: Told) -> None:
        if line.startswith("{"):
            try:
                said = json.loads(line)
            except ValueError:
                said = {}
            if isinstance(said, dict) and ("progress" in said or "note" in said):
                told(said.get("share"), str(said.get("progress") or said["note"]))
                return
        if line.strip():
            self._last = line.strip().removeprefix(f"offramp {self.name}: ")
            told(None, self._last)
