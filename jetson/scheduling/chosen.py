"""What a plan's held-out replays and its promise came to, kept for the next load: they are most of its solving.

The tables are solved anew each time; what is kept are a few figures, under a hash of all that they follow from, the
code that finds them included. A file that is damaged is as none.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import msgspec

from jetson.cache import cache_folder
from jetson.errors import OfframpError
from jetson.files import write_file
from jetson.record import Record

AS_MUCH = 0.001
"""A difference in value, in right answers, that computing less outweighs."""
KEPT = 64
"""Files; of more the oldest go."""
LARGEST_BYTES = 4096


class HeldOutReplay(Record, frozen=True):
    """Which table won where confidence was replayed against its absence on the same frames."""

    confident: float
    """Mean value with a look at answers,"""
    plain: float
    """and without."""
    error: float
    """Standard error of the difference, by the frames that differ from one another."""
    sooner: bool
    """Whether the look at answers computes less."""
    n: int

    @property
    def won(self) -> bool:
        """Whether the look at answers is to be shipped: when it is worth more, or as much and computes less.

        As much: less by `AS_MUCH` at most. The standard error of a few hundred frames would let whole points pass.
        """
        gain = self.confident - self.plain
        return gain > 0.0 or (self.sooner and gain > -AS_MUCH)


class Chosen(Record, frozen=True):
    """What was found."""

    key: str
    known: HeldOutReplay
    hidden: HeldOutReplay
    tau: float
    """As of `plans.Plan`."""


def code() -> bytes:
    """SHA-256 of all source that findings follow from, so that no other version's are believed."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    beyond = ("confidence.py", "samples.py", "profiling/profile.py")
    for file in (*sorted(here.glob("*.py")), *(here.parent / name for name in beyond)):
        digest.update(file.read_bytes())
    return digest.digest()


def recall(key: str) -> Chosen | None:
    """What was found before under this key.

    Args:
        key: 64 hex digits.
    """
    try:
        file = _file(key)
        with file.open("rb") as stream:
            found = msgspec.json.decode(stream.read(LARGEST_BYTES), type=Chosen)
    except (OSError, RuntimeError, msgspec.DecodeError, UnicodeDecodeError):  # RuntimeError: there is no home
        return None
    return found if found.key == key and 0.0 < found.tau < 1e6 else None


def keep(chosen: Chosen) -> None:
    """Write what was found, where that can be done."""
    with contextlib.suppress(OSError, OfframpError, RuntimeError):
        file = _file(chosen.key)
        write_file(file, msgspec.json.encode(chosen))
        files = sorted(file.parent.glob("*.json"), key=lambda f: f.stat().st_mtime)
        for old in files[:-KEPT]:
            old.unlink(missing_ok=True)


def _file(key: str) -> Path:
    return cache_folder("plans", "plans") / f"{key}.json"
