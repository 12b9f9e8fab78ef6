"""The loggers of Offramp: one tree, `offramp.*`, which says nothing until who runs the process configures logging.

`offramp.jetson.runtime` is the logger of `jetson/runtime.py`, and so on. What was done and how long it took is logged
at info, details at debug, what a user should mend at warning. Nothing here sets a level or a handler that prints.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

TREE = "offramp"
logging.getLogger(TREE).addHandler(logging.NullHandler())


def get_logger(module: str) -> logging.Logger:
    """The logger of a module.

    Args:
        module: its `__name__`.
    """
    return logging.getLogger(f"{TREE}.{module}")


@contextlib.contextmanager
def timed(logger: logging.Logger, did: str, *args: object) -> Iterator[None]:
    """Log at info what was done and in how many seconds, when it ended well.

    Args:
        logger: where to.
        did: what, in the past tense, with a `%s` for each of `args`.
        args: read when it has ended, so they may change meanwhile.
    """
    began = time.monotonic()
    yield
    logger.info(did + " in %.2f s", *args, time.monotonic() - began)
