"""How the programs here end: a mistake is one line and exit code 2, failed work 1, Ctrl-C 130."""

from __future__ import annotations

import sys
from collections.abc import Callable

from jetson.errors import BadInput, OfframpError

INTERRUPTED = 130
"""What Ctrl-C exits with."""


def one_line(main: Callable[[], None], stopped: str = "the same command goes on where it stopped") -> None:
    """Run a program's main function.

    Args:
        main: the function.
        stopped: what is left after Ctrl-C.
    """
    try:
        main()
    except OfframpError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInput) else 1)
    except KeyboardInterrupt:
        print(f"interrupted; {stopped}", file=sys.stderr)
        sys.exit(INTERRUPTED)
