"""nvpmodel, NVIDIA's tool for power modes: what it says, and how it is asked.

Any user may ask which mode holds; changing it needs root. Modes that switch cores or parts of the GPU on or off may ask
for a reboot instead: that question is never answered with yes.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jetson.errors import BadInput, WorkFailed
from jetson.sysfiles import read_text

CONF = Path("/etc/nvpmodel.conf")
STATUS = Path("/var/lib/nvpmodel/status")
"""Where it keeps the number of the mode: `pmode:0002`, or `pmode:0008 fmode:quiet`."""
ASK_S, CHANGE_S = 5.0, 60.0
"""How long it may take to tell the mode, and to change it."""
REBOOT = "reboot required"
"""What it says of a mode that it cannot change to as things are."""
NOT_THERE = "there is no nvpmodel here, as only Jetsons have it: power modes cannot be changed"


class PowerMode(NamedTuple):
    """One of the modes a board offers."""

    id: int
    name: str


class NeedsReboot(WorkFailed):
    """The board would have to be rebooted to change to a mode."""


def power_mode(text: str) -> str | None:
    """The mode's name from what `nvpmodel -q` prints, e.g. `NV Power Mode: MAXN_SUPER`."""
    found = re.search(r"NV Power Mode:\s*(\S+)", text)
    return found[1] if found else None


def listed_modes(text: str) -> list[PowerMode]:
    """The modes that a board offers, by their number; of a number named twice the first.

    Args:
        text: of /etc/nvpmodel.conf (`< POWER_MODEL ID=0 NAME=15W >`), or what `nvpmodel -p --verbose` prints
            (`NVPM VERB: POWER_MODEL: ID=0 NAME=15W`).
    """
    found: dict[int, PowerMode] = {}
    for words in re.findall(r"^[^#\n]*\bPOWER_MODEL\b:?((?:\s+(?:ID|NAME)=[^\s>]+){2})", text, re.MULTILINE):
        fields = dict(word.split("=", 1) for word in words.split())
        if fields.keys() == {"ID", "NAME"} and re.fullmatch(r"\d{1,4}", fields["ID"]):
            found.setdefault(int(fields["ID"]), PowerMode(int(fields["ID"]), fields["NAME"]))
    return [found[number] for number in sorted(found)]


def current() -> str | None:
    """The mode that holds now; None where it is not told.

    Where nvpmodel is not there, as in a container, or tells a plain user nothing, its files say it if they can be read.
    """
    tool = shutil.which("nvpmodel")
    return (power_mode(_run([tool, "-q"], ASK_S)) if tool else None) or _kept()


def _kept() -> str | None:
    found = re.match(r"pmode:(\d{1,4})\b", read_text(STATUS) or "")
    return next((m.name for m in listed_modes(read_text(CONF) or "") if found and m.id == int(found[1])), None)


class NvpModel:
    """The tool, with the right to change modes."""

    def __init__(self) -> None:
        """Find it and what it offers.

        Raises:
            BadInput: it is not here, names no modes, or may not be used; the message says what to do.
        """
        tool = shutil.which("nvpmodel")
        if tool is None:
            raise BadInput(NOT_THERE)
        self._tool = tool
        self._prefix: list[str] = []
        if os.geteuid() != 0:
            sudo = shutil.which("sudo")
            if sudo is None or power_mode(_run([sudo, "-n", tool, "-q"], ASK_S)) is None:
                raise BadInput(
                    f"only root may change power modes, and sudo asks for a password: run sudo -v first, or let "
                    f"sudoers have a line like: {os.environ.get('USER', 'USER')} ALL=(root) NOPASSWD: {tool}"
                )
            self._prefix = [sudo, "-n"]
        self.modes = listed_modes(_run([tool, "-p", "--verbose"], ASK_S)) or listed_modes(read_text(CONF) or "")
        if not self.modes:
            raise BadInput(f"nvpmodel names no power modes, and neither does {CONF}")

    def now(self) -> PowerMode:
        """The mode that holds.

        Raises:
            WorkFailed: nvpmodel does not tell it, or one that it does not offer.
        """
        name = power_mode(_run([*self._prefix, self._tool, "-q"], ASK_S))
        found = next((m for m in self.modes if m.name == name), None)
        if found is None:
            raise WorkFailed(f"nvpmodel does not tell which of its power modes holds (it says {name!r})")
        return found

    def chosen(self, names: Sequence[str]) -> list[PowerMode]:
        """The modes of these names, as the board orders them; all of them for `all`.

        Raises:
            BadInput: the board has no such mode.
        """
        if list(names) == ["all"]:
            return self.modes
        unknown = [n for n in names if n not in {m.name for m in self.modes}]
        if unknown:
            raise BadInput(
                f"this board has no power mode {unknown[0]!r}; it has {', '.join(m.name for m in self.modes)}"
            )
        return [m for m in self.modes if m.name in names]

    def change(self, mode: PowerMode) -> None:
        """Change to a mode, and see that it holds.

        Raises:
            NeedsReboot: the board would have to be rebooted; nothing has changed.
            WorkFailed: it does not hold afterwards.
        """
        if self.now() == mode:
            return
        said = _run([*self._prefix, self._tool, "-m", str(mode.id)], CHANGE_S)
        now = self.now()
        if now == mode:
            return
        if REBOOT in said.lower():
            raise NeedsReboot(f"power mode {mode.name} needs a reboot")
        last = next((line for line in reversed(said.splitlines()) if "ERROR" in line), "nothing")
        raise WorkFailed(f"power mode {mode.name} was asked for and {now.name} holds; nvpmodel says: {last}")

    def by_hand(self, mode: PowerMode) -> str:
        """The command that changes to a mode."""
        return f"sudo nvpmodel -m {mode.id}"


def _run(command: Sequence[str], timeout_s: float) -> str:
    """All that a command prints; nothing when it cannot be run or takes too long.

    It answers no question (its input is empty), and it is out of Ctrl-C's reach: half a change of mode helps nobody.
    """
    import subprocess  # loading a bundle seldom needs it

    # A group of processes of its own; a session of its own would lose what sudo knows of the terminal.
    apart: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            **apart,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return str(done.stdout)
