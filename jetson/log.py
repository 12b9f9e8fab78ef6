"""The loggers of Offramp: one tree, `offramp.*`, which says nothing until who runs the process configures logging.

`offramp.jetson.runtime` is the logger of `jetson/runtime.py`, and so on. What was done and how long it took is logged
at info, details at debug, what a user should mend at warning. Nothing here sets a level or a handler that prints.

Python's `logging` takes several milliseconds to import, a twentieth of loading a bundle. A process that has not
imported it has not configured it either, so there nothing is logged and nothing imported.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

TREE = "offramp"


class Log:
    """A logger of the tree, as far as we use one."""

    def __init__(self, name: str) -> None:
        """Name it; `logging` is looked for when something is said."""
        self.name = name
        self._logger: logging.Logger | None = None

    def tells_details(self) -> bool:
        """Whether anybody would see what is said at debug."""
        logger = self._found()
        return logger is not None and logger.isEnabledFor(10)

    def debug(self, text: str, *args: object, **options: Any) -> None:
        """Details."""
        if (logger := self._found()) is not None:
            logger.debug(text, *args, stacklevel=2, **options)

    def info(self, text: str, *args: object) -> None:
        """What was done."""
        if (logger := self._found()) is not None:
            logger.info(text, *args, stacklevel=2)

    def warning(self, text: str, *args: object) -> None:
        """What a user should mend."""
        if (logger := self._found()) is not None:
            logger.warning(text, *args, stacklevel=2)

    def _found(self) -> logging.Logger | None:
        module = sys.modules.get("logging")
        if self._logger is None and hasattr(module, "getLogger"):  # it may be half imported, by another thread
            assert module is not None
            top = module.getLogger(TREE)
            if not top.handlers:  # or a warning would be printed where nobody asked for any
                top.addHandler(module.NullHandler())
            self._logger = module.getLogger(self.name)
        return self._logger


def get_logger(module: str) -> Log:
    """The logger of a module.

    Args:
        module: its `__name__`.
    """
    return Log(f"{TREE}.{module}")


@contextlib.contextmanager
def timed(logger: Log, did: str, *args: object) -> Iterator[None]:
    """Log at info what was done and in how many seconds, when it ended well.

    Args:
        logger: where to.
        did: what, in the past tense, with a `%s` for each of `args`.
        args: read when it has ended, so they may change meanwhile.
    """
    began = time.monotonic()
    yield
    logger.info(did + " in %.2f s", *args, time.monotonic() - began)
