"""The system's ssh, with the keys, hosts and jumps that its user has set up, and what it says when it fails."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from jetson.errors import BadInput, OfframpError, WorkFailed
from toolkit.deploy import helper

# A connection that is dead is noticed in half a minute; nothing of ours wants a terminal, a tunnel or another command.
OPTIONS = (
    *("ServerAliveInterval=10", "ServerAliveCountMax=3", "ConnectTimeout=20"),
    *("RequestTTY=no", "RemoteCommand=none", "ClearAllForwardings=yes", "PermitLocalCommand=no"),
)
OLDEST = (3, 10)
MOST_NOISE_BYTES = 1 << 16
"""What a board's login shell may print before our program begins."""
ONE_ASKS = threading.Lock()
"""Passwords are asked for one board after another."""


class Lost(Exception):
    """The connection ended; the message says what ssh said of it."""


@dataclass(frozen=True)
class Address:
    """How ssh reaches a board."""

    host: str
    """`user@host`, or a name of ~/.ssh/config."""
    port: int | None = None
    options: tuple[str, ...] = ()
    """Further words for ssh, e.g. `-J gateway`."""
    python: str = "python3"

    @property
    def name(self) -> str:
        """The host without the user."""
        return self.host.rpartition("@")[2]

    @property
    def command(self) -> list[str]:
        """What reaches the board with ssh, by hand."""
        return ["ssh", *(["-p", str(self.port)] if self.port else []), *self.options, self.host]


def connect(address: Address) -> Pipes:
    """Start our program on the board.

    Raises:
        BadInput: the board cannot be reached so: unknown host, refused key, changed host key, no Python.
        WorkFailed: nothing answers there.
        Lost: the connection ended before our program answered, and ssh did not say why.
    """
    batch = not sys.stdin.isatty() and not os.environ.get("SSH_ASKPASS_REQUIRE")
    options = [word for o in (*OPTIONS, *(["BatchMode=yes"] if batch else [])) for word in ("-o", o)]
    ssh, *words = address.command
    python = address.python if re.fullmatch(r"[\w./~-]+", address.python) else shlex.quote(address.python)
    command = [ssh, *options, *words[:-1], "--", words[-1], f'{python} -c "{helper.START}"']
    with contextlib.nullcontext() if batch else ONE_ASKS:
        try:
            return Pipes(command, address)
        except FileNotFoundError:
            raise BadInput("there is no ssh here; install OpenSSH's client (apt-get install openssh-client)") from None


class Pipes:
    """A running ssh, and our program's ends of its pipes."""

    def __init__(self, command: Sequence[str], address: Address) -> None:
        """Start it and wait until our program runs."""
        self.address = address
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  a pipe would have to be read; closed in close()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        version = self._version()
        if version < OLDEST:
            raise BadInput(
                f"{self.address.host} has Python {'.'.join(map(str, version))}, and Offramp needs "
                f"{'.'.join(map(str, OLDEST))} or later: JetPack 6 has 3.10; another Python on the board can be named "
                "with --python"
            )
        program = helper.program()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(b"%d\n" % len(program) + program)
            self.stdin.flush()

    def _version(self) -> tuple[int, ...]:
        """Read up to the line that our program begins with; a login shell may have printed others before it."""
        noise = b""
        while line := self.stdout.readline(MOST_NOISE_BYTES):
            words = line.decode(errors="replace").split()
            if words[:1] == [helper.READY]:
                return tuple(map(int, words[1:]))
            noise += line
            if len(noise) > MOST_NOISE_BYTES:
                raise BadInput(f"{self.address.host} prints without end when one logs in; mend its shell's start files")
        raise self.why()

    def why(self) -> Exception:
        """The error for a connection that has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self._said.seek(0)
        text = self._said.read().decode(errors="replace")
        return explain(text, self.process.poll(), self.address) or Lost(last_line(text) or "the connection was lost")

    def kill(self) -> None:
        """End the connection while another thread waits for what comes through it."""
        self.process.kill()

    def close(self) -> None:
        """End the connection."""
        for stream in (self.stdin, self.stdout):
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._said.close()


def explain(text: str, code: int | None, address: Address) -> OfframpError | None:
    """The error for what ssh, or the board's shell, has said; None when it was none that we know.

    Args:
        text: all that came on stderr.
        code: the exit code of ssh: 255 is its own, others are the board's shell's.
        address: of the board.
    """
    host, by_hand = address.host, shlex.join(address.command)
    said = last_line(text)

    def has(*parts: str) -> bool:
        return any(part.lower() in text.lower() for part in parts)

    if has("REMOTE HOST IDENTIFICATION HAS CHANGED"):
        return BadInput(
            f"{host}: its host key is not the one you know: the board was set up anew, or something else "
            f"answers in its place. If you know that it is the board: ssh-keygen -R {_known_as(text, address)}"
        )
    if has("Host key verification failed", "No matching host key", "no hostkey alg"):
        return BadInput(f"{host}: its host key is not known yet; connect once by hand and look at it: {by_hand}")
    if has("Permission denied", "Too many authentication failures"):
        return BadInput(f"{host} lets nobody in with your keys ({said}); try by hand: {by_hand}")
    if has("Could not resolve hostname", "Name or service not known"):
        return BadInput(f"there is no host {address.name} ({said})")
    if has(
        "Bad configuration option",
        "illegal option",
        "Bad port",
        "unknown option -- ",
        "terminating,",
        "user config file",
    ):
        return BadInput(f"ssh does not take what it was given: {text.strip().splitlines()[0]}")
    if code == 255 and has(*UNREACHABLE):
        return WorkFailed(f"{host} cannot be reached ({said})")
    if code in (126, 127):
        return BadInput(
            f"{host} has no {address.python}: install Python 3.10 or later there, or name it with --python ({said})"
        )
    if code == 0:
        return BadInput(f"{host}: {address.python} is no Python there")
    if code is not None and 0 < code != 255:
        return WorkFailed(f"{host}: {address.python} does not start there, or ended ({said or f'exit code {code}'})")
    return None


UNREACHABLE = ("Connection refused", "Connection timed out", "No route to host", "Network is unreachable")


def is_unreachable(error: OfframpError) -> bool:
    """Whether trying again later may help."""
    return isinstance(error, WorkFailed) and any(part in str(error) for part in (*UNREACHABLE, "timed out"))


def last_line(text: str) -> str:
    """The last thing that ssh said, without a warning's ornaments."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" @\r\n")]
    return lines[-1] if lines else ""


def _known_as(text: str, address: Address) -> str:
    """Under which name the host key is known, as ssh says itself."""
    found = re.search(r"ssh-keygen -f .* -R ['\"]?([^'\"\n]+)['\"]?", text)
    name = found[1].strip() if found else f"[{address.name}]:{address.port}" if address.port else address.name
    return shlex.quote(name)
