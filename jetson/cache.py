"""Where what can be made anew is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str, named: str = "") -> Path:
    """`OFFRAMP_CACHE`, else `XDG_CACHE_HOME`/offramp, else ~/.cache/offramp, and a folder in it.

    Args:
        kind: of what is kept, the folder's name.
        named: that folder's path within `OFFRAMP_CACHE`; engines lie in it without a folder of their own.

    Raises:
        RuntimeError: there is no home.
    """
    if folder := os.environ.get("OFFRAMP_CACHE"):
        return Path(folder) / named
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "offramp" / kind
