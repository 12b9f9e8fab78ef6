"""How deployments show themselves: a line of progress per board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from toolkit.cli.console import animated, notes, say
from toolkit.cli.progress_lines import tell, told_as_json
from toolkit.deploy.site import View


class Lines:
    """A line when a step begins."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, text: str) -> None:
        """Something else begins."""
        say(f"{self.name}: {text}")

    def share(self, share: float | None, text: str) -> None:
        """Too much for lines."""

    def note(self, text: str) -> None:
        """A remark that stays."""
        say(f"{self.name}: {text}")

    def end(self, text: str) -> None:
        """Nothing more comes."""


class Data(Lines):
    """Lines of JSON."""

    _step = ""

    def step(self, text: str) -> None:
        """Something else begins."""
        self._step = text
        tell(text, None, board=self.name)

    def share(self, share: float | None, text: str) -> None:
        """So much of it is done."""
        tell(self._step, share, board=self.name, detail=text)

    def note(self, text: str) -> None:
        """A remark."""
        tell(text, None, board=self.name)


class Terminal:
    """Bars that appear when every board is connected: until then ssh may ask for passwords there."""

    def __init__(self, bars: Progress, count: int) -> None:
        self.bars, self._waiting, self._lock = bars, count, threading.Lock()

    def connected(self) -> None:
        """One board more is, or has failed."""
        with self._lock:
            self._waiting -= 1
            if not self._waiting:
                self.bars.start()


class Bar(Lines):
    """One line of the terminal that changes."""

    def __init__(self, name: str, terminal: Terminal) -> None:
        super().__init__(name)
        self._terminal, self._bars = terminal, terminal.bars
        self._id = self._bars.add_task(name, total=None, detail="")
        self._step, self._connected = "", False

    def step(self, text: str) -> None:
        """Something else begins; the first is to connect."""
        if self._step:
            self._connect()
        else:
            say(f"{self.name}: {text}")
        self._step = text
        self._bars.reset(self._id, total=None, detail=text)

    def share(self, share: float | None, text: str) -> None:
        """So much of it is done."""
        known: dict[str, Any] = {} if share is None else {"total": 1.0, "completed": share}
        self._bars.update(self._id, detail=": ".join(filter(None, [self._step, text])), **known)

    def end(self, text: str) -> None:
        """Nothing more comes."""
        self._connect()
        self._bars.update(self._id, total=1.0, completed=1.0, detail=text)
        self._bars.stop_task(self._id)

    def _connect(self) -> None:
        if not self._connected:
            self._connected = True
            self._terminal.connected()


@contextlib.contextmanager
def views(count: int) -> Iterator[Callable[[str], View]]:
    """Progress on stderr while the block runs: call what this gives with a board's name."""
    if told_as_json():
        yield Data
        return
    if not animated():
        yield Lines
        return
    name, detail = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[detail]}", markup=False)
    bars = Progress(name, BarColumn(bar_width=24), TimeElapsedColumn(), detail, console=notes)
    terminal = Terminal(bars, count)
    try:
        yield lambda board: Bar(board, terminal)
    finally:
        bars.stop()
