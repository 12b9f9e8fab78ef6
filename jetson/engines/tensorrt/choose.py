"""Which engine of the cache a unit runs on this device, and, when none does, why and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from jetson.engines.tensorrt.records import Entry, Key, Target
from jetson.errors import EngineError
from jetson.manifest import Precision


def rebuild(precision: Precision, target: Target, bundle: Path | None) -> str:
    """The command that builds a bundle's engines so.

    Args:
        precision: of the engines.
        target: that they are for.
        bundle: where it lies; the word BUNDLE when None.
    """
    named = "BUNDLE" if bundle is None else shlex.quote(str(bundle))
    return f"offramp engines {named} --precision {precision}" + (f" --target {target.sm}" * (target.kind == "rtx"))


def choose(
    built: Sequence[tuple[Entry, str]],
    folder: Path,
    unit: str,
    precision: Precision,
    package: str,
    version: str,
    target: Target,
    bundle: Path | None,
) -> Entry:
    """See `Cache.engine_for`.

    Args:
        built: the unit's engines in this precision, each with what is wrong with it, if anything.
        folder: of the cache, for messages.
        unit: its name.
        precision: that is wanted.
        package: `tensorrt` or `tensorrt_rtx`.
        version: of it.
        target: this device.
        bundle: where it lies, for messages.

    Raises:
        EngineError: none of them will do.
    """
    command = rebuild(precision, target, bundle)
    if not built:
        raise EngineError(f"unit {unit} has no engine in {precision} in {folder}; build it: {command}")
    fitting = [(entry, why) for entry, why in built if not _difference(entry.fingerprint.key, package, version, target)]
    whole = [entry for entry, why in fitting if not why]
    if whole:
        return max(whole, key=_worth)
    if fitting:
        raise EngineError(
            f"the engine of unit {unit} in {precision} cannot be used: {fitting[0][1]}; {_again(command)}"
        )
    nearest = max((entry for entry, _ in built), key=lambda e: e.fingerprint.created).fingerprint.key
    difference = _difference(nearest, package, version, target)
    raise EngineError(f"the engine of unit {unit} in {precision} was {difference}; {_again(command)}")


def _again(command: str) -> str:
    return f"build it again: {command}"


def _worth(entry: Entry) -> tuple[bool, bool, str]:
    key = entry.fingerprint.key
    return key.target.kind == "device", key.max_batch == 1, entry.fingerprint.created


def _difference(key: Key, package: str, version: str, target: Target) -> str:
    """What keeps an engine from running here; empty when nothing does."""
    if (key.package, key.version) != (package, version):
        return f"built by {tensorrt_name(key.package, key.version)}, here is {tensorrt_name(package, version)}"
    if key.target.serves(target):
        return ""
    if key.target.kind == "rtx" or key.target.compute_capability != target.compute_capability:
        return f"built for {key.target}, here is {target.sm}"
    for field in ("gpu", "board", "jetpack"):
        before, now = getattr(key.target, field), getattr(target, field)
        if before != now:
            return f"built for {_or_none(before)}, here is {_or_none(now)}"
    return f"built for {key.target}, here is {target}"


def tensorrt_name(package: str, version: str) -> str:
    """A TensorRT for people, e.g. `TensorRT 10.3.0`."""
    return f"{'TensorRT for RTX' if package == 'tensorrt_rtx' else 'TensorRT'} {version}"


def _or_none(text: str | None) -> str:
    return text if text is not None else "another kind of device"
