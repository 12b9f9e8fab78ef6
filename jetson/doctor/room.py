"""Memory to build in, and the cache of engines: whether it can be used, what is in it, room on its disk."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

from jetson.doctor.check import Finding, State
from jetson.doctor.facts import Checks, Facts
from jetson.doctor.machine import Machine, plain
from jetson.engines.tensorrt.cache import Cache
from jetson.errors import OfframpError

GIB = 1 << 30
MEMORY = 2 * GIB
"""Free memory below which building a large unit may fail."""
DISK = GIB
"""Free space below which the cache may not hold a large bundle."""


def memory(machine: Machine) -> Finding:
    """Memory of the moment: to be asked before other processes are started."""
    told = meminfo(machine.text("proc/meminfo") or "")
    free, total, swap = told.get("MemAvailable"), told.get("MemTotal"), told.get("SwapFree")
    if free is None or total is None:
        return _of("memory", "Memory", "not here", "it is not told")
    limit, used = machine.number("sys/fs/cgroup/memory.max"), machine.number("sys/fs/cgroup/memory.current")
    if limit is not None and limit < total:
        total, free = limit, max(0, min(free, limit - (used or 0)))
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free, "
    found += f"{swap / GIB:.1f} GiB of swap free" if swap else "no swap"
    if free >= MEMORY:
        return _of("memory", "Memory", "ok", found)
    mend = "sudo systemctl isolate multi-user.target (stops the desktop)" if machine.jetson else "close other programs"
    return _of("memory", "Memory", "warning", f"{found}: little for building engines", mend)


def _cache(facts: Facts) -> Finding:
    name, title, elsewhere = "cache", "Engine cache", "set OFFRAMP_CACHE to a folder of your own"
    cache = Cache(facts.machine.cache)
    folder = cache.folder
    try:
        cache.entries()
    except OfframpError as error:
        mend = plain(f"chmod go-w {shlex.quote(str(folder))}", 400) if _open_to_others(folder) else elsewhere
        return _of(name, title, "missing", plain(str(error)), mend)
    there = folder
    while not os.access(there, os.F_OK) and there != there.parent:
        there = there.parent
    where = plain(str(folder)) + ("" if there == folder else ", made when the first engine is built")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return _of(name, title, "missing", f"{plain(str(folder))} cannot be written", elsewhere)
    free = shutil.disk_usage(there).free
    found = f"{where}; {free / GIB:.1f} GiB free on the disk"
    if free < DISK:
        return _of(name, title, "warning", found, "offramp engines --prune")
    return _of(name, title, "ok", found)


def _engines(facts: Facts) -> Finding:
    try:
        entries = Cache(facts.machine.cache).entries()
    except OfframpError:
        return _of("engines", "Engines", "not here", "the cache cannot be looked into")
    if not entries:
        return _of("engines", "Engines", "not here", "none built yet")
    states = Counter(e.state for e in entries)
    keys = [e.fingerprint.key for e in entries if e.state == "ok" and e.fingerprint]
    here = {(package, t.version) for package, t in facts.tensorrt.items() if t.state == "ok"}
    fit = sum((k.package, k.version) in here for k in keys)
    parts = [f"{states['ok']} built" + (f", {fit} of them by the TensorRT that is here" if here and keys else "")]
    parts += [f"{n} {state}" for state, n in sorted(states.items()) if state != "ok"]
    if states["damaged"] or states["unsafe"]:
        return _of("engines", "Engines", "warning", ", ".join(parts), "offramp engines --prune")
    if here and fit < len(keys):
        return _of("engines", "Engines", "warning", ", ".join(parts), "offramp engines BUNDLE builds the others again")
    return _of("engines", "Engines", "ok", ", ".join(parts))


def _open_to_others(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & 0o022)
    except OSError:
        return False


def meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = re.findall(r"^(\w+):\s*(\d{1,15}) kB$", text, re.MULTILINE)
    return {name: int(value) * 1024 for name, value in found}


def _of(name: str, title: str, state: State, found: str, mend: str | None = None) -> Finding:
    return Finding(name=name, group="Room", title=title, state=state, found=found, mend=mend)


CHECKS: Checks = {"cache": _cache, "engines": _engines}
