"""Progress for programs: `OFFRAMP_PROGRESS=json` makes lines of JSON on stderr of what else would be bars."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

VARIABLE = "OFFRAMP_PROGRESS"
APART_S = 0.2
"""Between two lines of the same text that only say how far it is."""
_last: dict[Any, float] = {}


def told_as_json() -> bool:
    """Whether somebody asked for it."""
    return os.environ.get(VARIABLE) == "json"


def tell(progress: str, share: float | None, **further: Any) -> None:
    """Write a line, unless one about the same was written just now.

    Args:
        progress: what is being done.
        share: of it that is done, 0..1, None where that is not known.
        further: what else is known.
    """
    key, now = (progress, further.get("board")), time.monotonic()
    if share is not None and 0.0 < share < 1.0 and now - _last.get(key, -APART_S) < APART_S:
        return
    _last[key] = now
    line = {"progress": progress, "share": None if share is None else round(share, 4), **further}
    print(json.dumps(line), file=sys.stderr, flush=True)
