"""Short names for profiles and runs that stand beside one another: what sets each apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jetson.profiling.profile import LatencyProfile


def device_name(profile: LatencyProfile) -> str:
    """The device in a few words: board or machine, processor, GPU."""
    device = profile.device
    cores = f"{device.cores} core{'s' if device.cores != 1 else ''}"
    parts = (device.board or device.machine, f"{device.processor} ({cores})", device.gpu)
    return ", ".join(part for part in parts if part)


def engine_name(profile: LatencyProfile) -> str:
    """The engine, its version and its threads."""
    engine = profile.engine
    return f"{engine.name} {engine.version}, {engine.threads} thread{'s' if engine.threads != 1 else ''}"


def precision_name(profile: LatencyProfile) -> str:
    """What the units were measured in."""
    return " and ".join(dict.fromkeys(u.precision for u in profile.units.values()))


def profile_names(files: Sequence[Path], profiles: Sequence[LatencyProfile]) -> list[str]:
    """A name for each: its power mode, and whatever else differs between them."""
    if len(profiles) == 1:
        return [profiles[0].device.power_mode or profiles[0].device.board or profiles[0].device.processor]
    columns = [
        [p.device.board or p.device.processor for p in profiles],
        [p.device.power_mode or "" for p in profiles],
        [p.engine.name for p in profiles],
        [precision_name(p) for p in profiles],
        [f"{p.engine.threads} thread{'s' if p.engine.threads != 1 else ''}" for p in profiles],
    ]
    telling = [column for column in columns if len(set(column)) > 1]
    names = [", ".join(filter(None, parts)) for parts in zip(*telling, strict=True)] or [""] * len(profiles)
    return _apart(names, files)


def log_names(files: Sequence[Path]) -> list[str]:
    """A name for each: its file's, without what all have."""
    return _apart([f.stem.removeprefix("frames-").removeprefix("frames_") for f in files], files)


def _apart(names: list[str], files: Sequence[Path]) -> list[str]:
    """Those that are not unique get their file's name, and if that does not help, its folder's, and its place."""
    for more in (lambda f: f.stem, lambda f: f.parent.name):
        names = [
            n if n and names.count(n) == 1 else " · ".join(filter(None, (n, more(f))))
            for n, f in zip(names, files, strict=True)
        ]
    return [n if names.count(n) == 1 else f"{n} ({i + 1})" for i, n in enumerate(names)]
