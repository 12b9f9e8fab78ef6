"""A board's own tools, as far as programs see them: nvpmodel, sudo and tegrastats as executables in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from tests.telemetry import THOR_38_4, XAVIER_NX_35

MODES = ("15W", "25W", "MAXN_SUPER", "7W")
"""Of an Orin Nano with JetPack 6.2, by their numbers; 7W has two cores less and asks for a reboot."""
NVPMODEL = r"""#!/bin/sh
# What it prints is what nvpmodel prints: see tests/jetson/power/test_nvpmodel.py for where it is from.
here={folder}
echo "$*" >> $here/asked
names="{names}"
name() {{ echo $names | cut -d' ' -f$(($1 + 1)); }}
now=$(sed 's/^pmode:0*\([0-9]\)/\1/' $here/status)
case "$1" in
-q)
    echo "NV Power Mode: $(name $now)"
    echo $now
    [ -e $here/root ] || echo "NVPM ERROR: Error opening /sys/kernel/nvpmodel_emc_cap/emc_iso_cap: 13" >&2
    ;;
-p)
    echo "NVPM VERB: Config file: /etc/nvpmodel.conf"
    id=0
    for n in $names; do
        echo "NVPM VERB: POWER_MODEL: ID=$id NAME=$n"
        id=$((id + 1))
    done
    ;;
-m)
    if [ "$(name $2)" = "{reboots}" ]; then
        echo "NVPM WARN: Golden image context is already created"
        echo "NVPM WARN: Reboot required for changing to this power mode: $2"
        echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
        read answer && [ "$answer" = yes ] && touch $here/rebooted
        echo "NVPM ERROR: bad input!"
        echo "NVPM ERROR: optMask is 1, no request for power mode"
        exit 1
    fi
    [ -e $here/broken ] && {{ echo "NVPM ERROR: failed to set power mode!"; exit 0; }}
    printf 'pmode:%04d' $2 > $here/status
    ;;
esac
"""
SUDO = r"""#!/bin/sh
# sudo -n COMMAND: `password` makes it ask for one.
[ -e {folder}/password ] && {{ echo "sudo: a password is required" >&2; exit 1; }}
shift
exec "$@"
"""
TEGRASTATS = r"""#!/bin/sh
while :; do
    echo "{line}"
    sleep 0.05
done
"""
LINES = {"thor": THOR_38_4, "xavier-nx": XAVIER_NX_35}


class Board:
    """The tools in a folder, and what was done with them."""

    def __init__(self, folder: Path, mode: int = 1, reboots: str = "7W", line: str | None = None) -> None:
        """Write them.

        Args:
            folder: to write to; to be put on PATH.
            mode: that holds, by its number.
            reboots: the mode that asks for a reboot.
            line: that tegrastats prints; None for no tegrastats.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._write("nvpmodel", NVPMODEL.format(folder=folder, names=" ".join(MODES), reboots=reboots))
        self._write("sudo", SUDO.format(folder=folder))
        if line is not None:
            self._write("tegrastats", TEGRASTATS.format(line=line))
        (folder / "status").write_text(f"pmode:{mode:04}")

    def _write(self, name: str, content: str) -> None:
        file = self.folder / name
        file.write_text(content)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    @property
    def environment(self) -> dict[str, str]:
        """With these tools before all others."""
        return {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}

    @property
    def mode(self) -> str:
        """That holds now."""
        return MODES[int((self.folder / "status").read_text()[-1])]

    @property
    def changes(self) -> Sequence[str]:
        """The modes that were asked for, one after another."""
        asked = (self.folder / "asked").read_text().splitlines() if (self.folder / "asked").exists() else []
        return [MODES[int(words.split()[1])] for words in asked if words.startswith("-m")]
