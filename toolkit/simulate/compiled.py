"""The loop and the shipped rules as machine code: a million frames in seconds. Without numba the same runs as it is.

What was compiled is kept in a folder of the user's, under a hash of the sources: numba's own cache does not notice when
a function that is called from the one it keeps has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import jetson.confidence
import jetson.scheduling
from jetson.cache import cache_folder
from toolkit.simulate import loop

KEPT = 3
"""Versions of the sources whose machine code is kept."""
OURS = ("jetson.", "toolkit.")


def called(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Every function of ours that one calls by its name, and those that these call, and so on."""
    found: list[Callable[..., Any]] = []
    ahead = [function]
    while ahead:
        now = ahead.pop()
        for name in now.__code__.co_names:
            other = now.__globals__.get(name)
            if isinstance(other, FunctionType) and other.__module__.startswith(OURS) and other not in found:
                found.append(other)
                ahead.append(other)
    return found


class NotCompiled(Exception):
    """There is no numba, or it will not compile the loop."""


def compile_loop(tell: Callable[[str], None], cache: Path | None = None) -> Callable[..., None]:
    """`loop.simulate` as machine code; the first call compiles it, which takes seconds, or finds it in the cache.

    Args:
        tell: is given a remark when it will take long.
        cache: folder; `OFFRAMP_CACHE`/simulate, else `XDG_CACHE_HOME`/offramp/simulate, else the same in ~/.cache,
            when None.

    Raises:
        NotCompiled: numba is missing or refuses.
    """
    try:
        import numba
        from numba.core.errors import NumbaError
        from numba.extending import register_jitable
    except (ImportError, OSError) as error:  # OSError: a library that numba brings does not load
        raise NotCompiled(f"numba cannot be used ({error}): pip install 'offramp[host]'") from error
    for function in called(loop.simulate):
        register_jitable(function)
    folder = (cache or cache_folder("simulate", "simulate")) / _version(numba.__version__)
    if not any(folder.rglob("*.nbc")):
        tell("compiling the simulation, which takes some seconds the first time")
    with _numba_cache(numba.config, folder) as kept:
        made = numba.njit(cache=kept)(loop.simulate)

    def simulate(*arguments: Any) -> None:
        try:
            made(*arguments)
        except NumbaError as error:
            raise NotCompiled(f"numba does not compile the loop ({str(error).splitlines()[0]})") from error

    return simulate


@contextlib.contextmanager
def _numba_cache(config: Any, folder: Path) -> Iterator[bool]:
    """Have numba keep what it compiles in a folder; tells whether that can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _forget(folder.parent)
        possible = os.access(folder, os.W_OK)
    except OSError:
        possible = False
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield possible
    finally:
        config.CACHE_DIR = before


def _forget(folder: Path) -> None:
    """Remove the machine code of older sources."""
    found = sorted((f for f in folder.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
    for old in found[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _version(numba_version: str) -> str:
    """Of numba, the loop, and all that it may call or take constants from."""
    digest = hashlib.sha256(numba_version.encode())
    folders = Path(jetson.scheduling.__path__[0]), Path(loop.__file__).parent
    for file in [*(f for folder in folders for f in sorted(folder.glob("*.py"))), Path(jetson.confidence.__file__)]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def best_loop(tell: Callable[[str], None], cache: Path | None = None) -> Callable[..., None]:
    """The loop as machine code, or as it is where that cannot be had.

    Args:
        tell: is given a remark for the user: that it will take long, or why it is slow.
        cache: as in `compile_loop`.
    """
    slow = "running the policies' code as plain Python, a few thousand frames a second"
    try:
        made = compile_loop(tell, cache)
    except NotCompiled as error:
        tell(f"{error}; {slow}")
        return loop.simulate
    refused: list[NotCompiled] = []

    def simulate(*arguments: Any) -> None:
        if not refused:
            try:
                made(*arguments)
                return
            except NotCompiled as error:  # nothing has run then
                refused.append(error)
                tell(f"{error}; {slow}")
        loop.simulate(*arguments)

    return simulate
