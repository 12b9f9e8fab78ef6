"""What the text options of several commands hold: how a shell completes it, and which path in it a config file means.

`group.Commands` gives an option its kind by its name, `KINDS`; an option that has a type of its own keeps that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

FILE = "file"
"""A completion of this type has the shell complete file names."""


class Words(click.types.StringParamType):
    """Text that may be one of some names, several with commas."""

    def __init__(self, names: Callable[[], Iterable[str]], several: bool = False) -> None:
        """Say which.

        Args:
            names: gives the names; called when a shell asks.
            several: whether names may follow one another, with commas.
        """
        self._names, self._several = names, several

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """The names that begin so."""
        before, comma, begun = incomplete.rpartition(",") if self._several else ("", "", incomplete)
        return [CompletionItem(before + comma + name) for name in self._names() if name.startswith(begun)]


class Located(Words):
    """A name or a path."""

    def beside(self, folder: Path, text: str) -> str:
        """The same text with its path meant from a folder; as it is when it is a name or there is no such file.

        Args:
            folder: the one that a config file lies in.
            text: `NAME`, `NAME:PATH` or a path.
        """
        known = tuple(self._names())
        name, colon, rest = text.partition(":")
        head, path = (name + colon, rest) if colon and name in known else ("", text)
        there = folder / Path(path).expanduser()
        return text if path in ("", *known) or not there.exists() else f"{head}{there}"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """The names that begin so, else files."""
        return super().shell_complete(ctx, param, incomplete) or [CompletionItem(incomplete, type=FILE)]


class Exits(click.types.StringParamType):
    """`LAYER:BRANCH,...`: the branch of the last one is completed."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Branches that begin so, behind a colon."""
        from toolkit.models.config import ARCHITECTURES

        before, comma, last = incomplete.rpartition(",")
        layer, colon, begun = last.partition(":")
        if not colon or not layer.isdigit():
            return []
        head = f"{before}{comma}{layer}:"
        return [CompletionItem(head + branch) for branch in ARCHITECTURES if branch.startswith(begun)]


def _data_sets() -> Iterable[str]:
    from toolkit.data import NAMES

    return [name for name, _ in NAMES]


def _policies() -> Iterable[str]:
    from jetson.scheduling.baselines import SIMPLE

    return ["planner", *SIMPLE]


def _simulated() -> Iterable[str]:
    from toolkit.simulate.contestants import ORACLES, PLANNERS

    return [*dict.fromkeys([*PLANNERS, *_policies(), *ORACLES])]


def _scenarios() -> Iterable[str]:
    from toolkit.simulate.scenarios import NAMES

    return NAMES


SIZES = ("tiny", "small", "base")
"""As in toolkit.models.backbone, which needs PyTorch."""
KINDS: dict[str, click.ParamType] = {
    "data": Located(_data_sets),
    "calibration": Located(_data_sets),
    "backbone": Located(lambda: SIZES),
    "exits": Exits(),
    "fuse": Exits(),
    "policy": Words(_policies),
    "policies": Words(_simulated, several=True),
    "scenario": Words(_scenarios),
    "target": Words(lambda: ("this-device", "sm75", "sm80", "sm86", "sm89", "sm120", "sm121")),
}
"""By what an option is called on the command line or, where that says more, in Python."""
