"""Logging of the command line: the `offramp.*` loggers to stderr and to a file, as text or as JSON lines.

What other packages log, and Python's warnings, count as debug here whatever they call themselves: they are not what a
user of this command can act upon.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from jetson.files import storage
from jetson.log import TREE
from toolkit.cli import console

REMARKS = f"{TREE}.remark"
"""What `console.say` says."""
ERRORS = f"{TREE}.error"
"""The one line that a command ends with."""

PRINTING = ("torch", "transformers", "accelerate", "huggingface_hub")
"""Packages whose loggers get handlers that print, when they are imported."""


def moment(record: logging.LogRecord) -> datetime.datetime:
    """When, in local time and with its offset."""
    return datetime.datetime.fromtimestamp(record.created).astimezone()


class TextLines(logging.Formatter):
    """`12:00:00.000 info    offramp.jetson.runtime: message`."""

    def __init__(self, dated: bool) -> None:
        super().__init__()
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below where there is one."""
        when = moment(record)
        clock = when.isoformat(timespec="milliseconds") if self._dated else f"{when:%H:%M:%S}.{record.msecs:03.0f}"
        line = f"{clock} {record.levelname.lower():7} {record.name}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """An object a line: time, level, logger, message, and what `extra={"data": {...}}` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        found = {
            "time": moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)


class _Handler(logging.Handler):
    """Lets records pass from a level on, and remarks when they are wanted; another package's count as debug."""

    least = logging.WARNING
    remarks = True

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit it, or do not."""
        if not record.name.startswith(f"{TREE}."):
            record = logging.makeLogRecord(record.__dict__)
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        passes = self.remarks if record.name == REMARKS else record.levelno >= self.least
        return bool(super().handle(record)) if passes else False


class _Adopted(logging.Logger):
    """A package's own root logger, which will print on its own: it takes no handlers, and hands on what it is told."""

    propagate = property(lambda _: True, lambda _, given: None)  # type: ignore[assignment]

    def addHandler(self, hdlr: logging.Handler) -> None:
        """Do not."""


def _adopt() -> None:
    """Be there before PyTorch and transformers are imported; where they have been, it is too late."""
    usual = logging.getLoggerClass()
    logging.setLoggerClass(_Adopted)
    try:
        for name in PRINTING:
            logging.getLogger(name)
    finally:
        logging.setLoggerClass(usual)


class _Stderr(_Handler):
    """By way of the console, so that a line goes above a progress bar and not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print; in text, remarks and errors are printed by the console as they are."""
        try:
            if console.status.as_json or record.name not in (REMARKS, ERRORS):
                console.notes.print(Text(self.format(record)))
        except Exception:  # as logging's own handlers do
            self.handleError(record)


class _File(_Handler, logging.FileHandler):
    """Takes remarks whatever --quiet says."""


def configure(level: str, file: Path | None, form: str, quiet: bool) -> None:
    """Set up what `session` began, anew.

    Args:
        level: of `shared.LEVELS`, from which on records go to stderr.
        file: that takes them too, from info on at least; None for none.
        form: `text` or `json`.
        quiet: no remarks on stderr.

    Raises:
        StorageError: the file cannot be written.
    """
    _remove()
    console.status.quiet, console.status.as_json = quiet, form == "json"
    stderr = _Stderr()
    stderr.least, stderr.remarks = logging.getLevelName(level.upper()), not quiet
    stderr.setFormatter(JsonLines() if form == "json" else TextLines(dated=False))
    handlers: list[_Handler] = [stderr]
    if file is not None:
        with storage(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(_File(file, encoding="utf-8", errors="backslashreplace"))
        handlers[-1].least = min(stderr.least, logging.INFO)
        handlers[-1].setFormatter(JsonLines() if form == "json" else TextLines(dated=True))
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    least = min(handler.least for handler in handlers)
    logging.getLogger(TREE).setLevel(least)
    # Their infos are worth having in detail, their debugging (numba's: megabytes) is not.
    logging.getLogger().setLevel(logging.INFO if least <= logging.DEBUG else logging.WARNING)


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Logging as the command line has it, until the block ends; then as it was."""
    root, tree = logging.getLogger(), logging.getLogger(TREE)
    before = root.level, tree.level
    logging.captureWarnings(True)
    _adopt()
    logging.getLogger(REMARKS).setLevel(logging.INFO)
    try:
        configure("warning", None, "text", quiet=False)
        yield
    finally:
        _remove()
        logging.captureWarnings(False)
        root.setLevel(before[0])
        tree.setLevel(before[1])
        console.status.quiet = console.status.as_json = False
        console.color("auto")


def _remove() -> None:
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(handler)
        handler.close()


def tell_error(command: str, message: str, code: int) -> None:
    """The line that a command ends with, on stderr and in the log file.

    Args:
        command: its name; empty for `offramp` itself.
        message: what is wrong; its line breaks are taken out.
        code: the exit code.
    """
    line = " ".join(message.split())
    if not console.status.as_json:
        # Not by way of rich: scripts read this line, and a broken console must not swallow it.
        print(f"offramp{command and ' '}{command}: {line}", file=sys.stderr)
    # A file's name may be no UTF-8; a log is, whoever reads it.
    logging.getLogger(ERRORS).error(
        "%s", console.readable(line), extra={"data": {"command": command or None, "exit_code": code}}
    )
