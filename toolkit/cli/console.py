"""What commands print: tables and data on stdout, progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from toolkit.cli.progress_lines import tell, told_as_json

WIDE = 180
"""Columns of a table that no terminal limits."""

COLORS = ("auto", "always", "never")


def _width() -> int | None:
    """None, for the terminal's own, on a terminal; elsewhere COLUMNS where that is exported."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDE


out = Console(highlight=False, soft_wrap=True, width=_width())
notes = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class Status:
    """What the options of `offramp` itself ask of stderr."""

    quiet: bool = False
    """Neither remarks nor progress."""
    as_json: bool = False
    """Lines of JSON alone."""
    color: str = "auto"


status = Status()
_steps = logging.getLogger("offramp.step")
_remarks = logging.getLogger("offramp.remark")


def color(when: str) -> None:
    """Say when there are colours and styles.

    Args:
        when: `auto`: on a terminal, as far as NO_COLOR, FORCE_COLOR and TERM let; or `always`, or `never`.
    """
    if when == status.color:
        return
    status.color = when
    systems: dict[str, dict[str, Any]] = {
        "auto": {},
        "always": {"force_terminal": True, "color_system": "standard", "no_color": False},
        "never": {"color_system": None},
    }
    system = systems[when]
    # Made anew in place: other modules hold these two by name.
    Console.__init__(out, highlight=False, soft_wrap=True, width=_width(), **system)
    Console.__init__(notes, stderr=True, highlight=False, soft_wrap=True, **system)


def animated() -> bool:
    """Whether bars may move on stderr: it is a terminal that can, and is not to be quiet or JSON."""
    # Not notes.is_terminal: a pipe that is to have colours is still no place for moving bars.
    return sys.stderr.isatty() and not notes.is_dumb_terminal and not (status.quiet or status.as_json)


def say(text: str) -> None:
    """A remark on stderr; nothing in it is markup. --quiet silences it, a log file takes it all the same."""
    if not (status.quiet or status.as_json):
        notes.print(Text(text))
    _remarks.info("%s", readable(text))


def readable(text: str) -> str:
    """The text with a backslash and a number for what UTF-8 does not have, as stderr shows it."""
    return text.encode(errors="backslashreplace").decode()


def print_json(data: Any) -> None:
    """One line of JSON on stdout."""
    print(json.dumps(data, allow_nan=False), flush=True)


def redirects_stdout() -> bool:
    """Whether what is printed while something is drawn on stderr goes above it: where both are one terminal.

    Elsewhere it must go to stdout, which may be a file or a pipe.
    """
    return sys.stdout.isatty()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """A table on stdout; the first `left` columns are words, the others figures."""
    # Text, because in a plain string rich would take [..] for markup.
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(Text(name), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """Progress on stderr: call what this gives with a title and a number of parts, and its result after each part.

    On a terminal these are bars; elsewhere one plain line when a step begins, or lines of JSON (`progress_lines`).
    """
    if told_as_json():
        yield lambda title, parts: _told(title, parts, _lines(title, parts))
        return
    if not animated():
        yield lambda title, parts: _told(title, parts, _plain(title, parts))
        return
    with _bars() as bars:

        def begin(title: str, parts: int) -> Callable[[], None]:
            task = bars.add_task(title, total=parts)
            return _told(title, parts, lambda: bars.advance(task))

        yield begin


@contextlib.contextmanager
def progress_share(title: str) -> Iterator[Callable[[float], None]]:
    """One progress bar on stderr that is told the share done, 0..1."""
    if told_as_json():
        tell(title, 0.0)
        yield lambda share: tell(title, share)
        return
    if not animated():
        say(f"{title} ...")
        yield lambda _share: None
        return
    with _bars(count=False) as bars:
        task = bars.add_task(title, total=1.0)
        yield lambda share: bars.update(task, completed=share)


def _bars(count: bool = True) -> Progress:
    columns = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=30)]
    columns += [*([MofNCompleteColumn()] if count else []), TimeElapsedColumn()]
    return Progress(*columns, console=notes, redirect_stdout=redirects_stdout())


def _told(title: str, parts: int, done: Callable[[], None]) -> Callable[[], None]:
    """What is called after each part; the last one logs how long the step took."""
    left, began = itertools.count(parts - 1, -1), time.monotonic()

    def one_done() -> None:
        done()
        if next(left) == 0:
            _steps.info("%s: %d in %.2f s", title, parts, time.monotonic() - began)

    return one_done


def _lines(title: str, parts: int) -> Callable[[], None]:
    tell(title, 0.0)
    done = itertools.count(1)
    return lambda: tell(title, next(done) / max(1, parts))


def _plain(title: str, parts: int) -> Callable[[], None]:
    say(f"{title} ({parts}) ...")
    return lambda: None
