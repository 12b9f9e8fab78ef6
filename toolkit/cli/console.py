"""What commands print: tables and data on stdout, progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDE = 180
"""Columns of a table that no terminal limits."""

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A remark on stderr; markup in it is not interpreted."""
    notes.print(text, markup=False)


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

    On a terminal these are bars; elsewhere one plain line when a step begins.
    """
    if not notes.is_terminal:
        yield _plain
        return
    with _bars() as bars:

        def begin(title: str, parts: int) -> Callable[[], None]:
            task = bars.add_task(title, total=parts)
            return lambda: bars.advance(task)

        yield begin


@contextlib.contextmanager
def progress_share(title: str) -> Iterator[Callable[[float], None]]:
    """One progress bar on stderr that is told the share done, 0..1."""
    if not notes.is_terminal:
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


def _plain(title: str, parts: int) -> Callable[[], None]:
    say(f"{title} ({parts}) ...")
    return lambda: None
