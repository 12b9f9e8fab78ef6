"""The machine under examination: its files, its tools, and Python in a process of its own.

Nothing here raises because of what a file or a tool says: a pipe in place of a file, a tool that hangs, prints without
end or leaves children behind, all end as "not told".
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jetson.sysfiles import read_text

OUTPUT_BYTES = 1 << 20
"""Of a tool's output that are read before it is stopped."""
LONGEST = 160
"""Characters of what somebody else wrote that go into a finding."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Text of unknown origin as one printable line, so that no file can steer the terminal."""
    line = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


@dataclass(frozen=True)
class Output:
    """How a command ended and what it printed, stdout and stderr together."""

    text: str
    code: int | None
    """As `subprocess` has it, minus the signal's number where one ended it; None where it had to be stopped."""
    trouble: str | None = None
    """Why there is nothing to believe: not found, no answer in time, ended by a signal."""


class Running:
    """A command that has been started; nothing is awaited until `output`."""

    def __init__(self, command: Sequence[str], seconds: float, environment: dict[str, str] | None = None) -> None:
        """Start it, in a session of its own so that whatever it starts can be stopped with it."""
        self._name, self._seconds = Path(command[0]).name, seconds
        self._deadline = time.monotonic() + seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._trouble: str | None = None
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._trouble = f"cannot be started: {plain(str(error))}"

    def output(self) -> Output:
        """Wait for the end, at most until the time is up, then stop what is left."""
        process = self._process
        if process is None or process.stdout is None:
            return Output("", None, self._trouble)
        try:
            text, trouble = self._read(process.stdout.fileno())
            if trouble is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, self._deadline - time.monotonic()))
            code = process.poll()
        finally:
            self.stop()
        if trouble is None and code is None:
            trouble = self._late
        if trouble is None and code is not None and code < 0:
            trouble = f"crashed ({_signal_name(-code)})"
        return Output(text, code, trouble)

    def stop(self) -> None:
        """End it and all it started; a process that the kernel will not let go is left to the kernel."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):  # the group is gone already
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        if process.stdout is not None:
            process.stdout.close()

    @property
    def _late(self) -> str:
        return f"did not answer within {self._seconds:g} s"

    def _read(self, stream: int) -> tuple[str, str | None]:
        content = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while len(content) < OUTPUT_BYTES:
                left = self._deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    return content.decode(errors="replace"), self._late
                chunk = os.read(stream, 1 << 16)
                if not chunk:
                    return content.decode(errors="replace"), None
                content += chunk
        return content.decode(errors="replace"), "prints without end"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True)
class Machine:
    """Where everything is; the tests put a machine of their own together."""

    root: Path = Path("/")
    tools: str | None = None
    """Folders to look for tools in, as in PATH; PATH itself when None."""
    modules: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    """Where a child process looks for Python modules."""
    cache: Path | None = None
    """Of engines; the one that Offramp uses when None."""
    prefix: Path = Path(sys.prefix)
    base_prefix: Path = Path(sys.base_prefix)
    python: tuple[int, int] = sys.version_info[:2]
    tool_seconds: float = 3.0
    child_seconds: float = 15.0

    def path(self, name: str) -> Path:
        """Where the machine has `name`, e.g. `proc/meminfo`."""
        return self.root / name

    def has(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        return os.access(self.path(name), os.F_OK)

    def text(self, name: str) -> str | None:
        """What a file says, without the NUL that the device tree ends its strings with; None when it says nothing."""
        return read_text(self.path(name))

    def number(self, name: str) -> int | None:
        """The whole number in a file; None when there is none."""
        text = self.text(name)
        return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None

    def names(self, pattern: str) -> list[str]:
        """Files that match a pattern, as names for `text`, sorted."""
        try:
            return sorted(str(p.relative_to(self.root)) for p in self.root.glob(pattern))
        except OSError:
            return []

    def tool(self, name: str) -> str | None:
        """Where a tool is; /usr/sbin counts too, which a plain user's PATH may lack."""
        folders = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin" if self.tools is None else self.tools
        return shutil.which(name, path=folders)

    def run(self, name: str, *arguments: str) -> Output | None:
        """What a tool prints; None when there is no such tool."""
        found = self.tool(name)
        if found is None:
            return None
        # In the language the patterns are written for.
        return Running([found, *arguments], self.tool_seconds, {**os.environ, "LC_ALL": "C"}).output()

    @property
    def container(self) -> bool:
        """Whether this looks like the inside of a container."""
        return any(self.has(n) for n in (".dockerenv", "run/.containerenv"))

    @property
    def jetson(self) -> bool:
        """Whether this is a Jetson: its system says so, or the device tree does."""
        chip = self.text("proc/device-tree/compatible") or ""
        return self.has("etc/nv_tegra_release") or "nvidia,tegra" in chip
