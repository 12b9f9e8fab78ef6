from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.deploy import helper
from toolkit.deploy.link import Link
from toolkit.deploy.ssh import Address, Pipes


class Quiet:
    """A view that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.shares: list[tuple[float | None, str]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def share(self, share: float | None, text: str) -> None:
        self.shares.append((share, text))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, text: str) -> None:
        self.steps.append(text)


@pytest.fixture
def view() -> Quiet:
    return Quiet()


@pytest.fixture
def local() -> Iterator[Callable[..., Link]]:
    """Links to our program in a process of this machine: all but ssh."""
    links: list[Link] = []

    def connect(folder: Path) -> Link:
        link = Link(Pipes([sys.executable, "-c", helper.START], Address("local")))
        links.append(link)
        link.ask("hello", folder=str(folder))
        return link

    yield connect
    for link in links:
        link.close()
