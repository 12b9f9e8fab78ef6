"""A board that is deployed to, what is wanted there, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jetson.manifest import Precision
from jetson.profiling.profile import LatencyProfile
from toolkit.deploy.ssh import Address

FOLDER = "~/.offramp"


@dataclass(frozen=True)
class Orders:
    """What is wanted of a board. None leaves it to the board, or to the command that runs there."""

    wheelhouse: Path | None = None
    engine: str | None = None
    precision: Precision | None = None
    target: str | None = None
    threads: int | None = None
    engine_options: tuple[str, ...] = ()
    """Further words for `offramp engines`."""
    profile_options: tuple[str, ...] = ()
    """Further words for `offramp profile`."""
    retries: int = 5
    restart: bool = False


@dataclass(frozen=True)
class Site:
    """One board."""

    name: str
    address: Address
    out: Path
    """Where its profile goes, here."""
    folder: str = FOLDER
    orders: Orders = field(default_factory=Orders)


@dataclass
class Result:
    """What came of one board."""

    site: Site
    board: str = ""
    folder: str = ""
    bundle: str = ""
    """Where it lies there."""
    there: str = ""
    """Where the profile lies there."""
    copied_bytes: int = 0
    plan: list[str] = field(default_factory=list)
    """What would be done, of a dry run."""
    doctor: dict[str, Any] | None = None
    engines: dict[str, Any] | None = None
    engine: str | None = None
    profile: LatencyProfile | None = None
    error: Exception | None = None


class View(Protocol):
    """Is told how it goes on one board."""

    def step(self, text: str) -> None:
        """Something else begins."""
        ...

    def share(self, share: float | None, text: str) -> None:
        """So much of the step is done, 0..1 or unknown."""
        ...

    def note(self, text: str) -> None:
        """A remark that stays."""
        ...

    def end(self, text: str) -> None:
        """Nothing more comes."""
        ...
