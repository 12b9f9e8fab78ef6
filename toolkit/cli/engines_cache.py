"""`offramp engines --list` and `--prune`."""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jetson.bundle import Bundle
from jetson.errors import CudaError, EngineError, MissingExtra
from toolkit.cli.console import out, print_json, print_table, say

if TYPE_CHECKING:
    from jetson.engines.tensorrt.cache import Cache, Fingerprint, Found, Target

MB = 1 << 20


class _Here:
    """The TensorRTs and the device that are here; None where that cannot be told."""

    def __init__(self) -> None:
        from jetson.engines.tensorrt.api import PACKAGES, load_api
        from jetson.engines.tensorrt.target import device_target

        self.versions: dict[str, str] = {}
        for package in PACKAGES:
            try:
                self.versions[package] = load_api(package).version
            except (MissingExtra, EngineError):
                continue
        self.device: Target | None = None
        with contextlib.suppress(MissingExtra, CudaError):
            self.device = device_target()

    def other(self, made: Fingerprint) -> str:
        """Why an engine is not of use here; empty when it is, or when nobody can tell."""
        from jetson.engines.tensorrt.choose import tensorrt_name

        version = self.versions.get(made.key.package)
        if version is not None and version != made.key.version:
            return f"built by {tensorrt_name(made.key.package, made.key.version)}, here is {version}"
        if self.device is not None and made.key.target.kind == "device" and made.key.target != self.device:
            return f"built for another device ({made.key.target})"
        return ""


def list_engines(cache: Cache, bundle: Bundle | None, as_json: bool) -> None:
    """Show the cache's engines, or those of a bundle."""
    here, hashes = _Here(), _hashes(bundle)
    found = [
        f for f in cache.entries() if bundle is None or (f.fingerprint and f.fingerprint.key.unit_sha256 in hashes)
    ]
    found.sort(key=lambda f: (f.fingerprint.unit, f.fingerprint.key.precision) if f.fingerprint else ("", ""))
    size = sum(f.size_bytes for f in found)
    if as_json:
        entries = [{**_data(f), "state": _state(f, here)} for f in found]
        print_json({"cache": str(cache.folder), "size_bytes": size, "entries": entries})
        return
    columns = ["unit", "precision", "built by", "for", "state", "batch", "MiB", "age"]
    if found:
        print_table("Engines", columns, [_row(f, here) for f in found], left=5)
    out.print(f"{len(found)} in {cache.folder}, {size / MB:.1f} MiB", markup=False)


def prune_engines(cache: Cache, bundle: Bundle | None, as_json: bool) -> None:
    """Remove what is of no use here, and say what."""
    here, hashes = _Here(), _hashes(bundle)
    removed: list[dict[str, Any]] = []
    for found in cache.entries():
        why = found.why or (here.other(found.fingerprint) if found.fingerprint else "")
        if not why and found.fingerprint and bundle is not None and found.fingerprint.key.unit_sha256 not in hashes:
            why = "not of this bundle"
        if not why:
            continue
        name = f"{found.fingerprint.unit} {found.fingerprint.key.precision}" if found.fingerprint else found.digest[:16]
        if not cache.remove(found):
            say(f"kept {name}: another process is building it")
            continue
        removed.append({**_data(found), "why": why})
        if not as_json:
            out.print(f"removed {name}: {why} ({found.size_bytes:,} bytes)", markup=False)
    cache.sweep_locks()
    size = sum(r["size_bytes"] for r in removed)
    if as_json:
        print_json({"cache": str(cache.folder), "size_bytes": size, "removed": removed})
    else:
        out.print(f"removed {len(removed)} from {cache.folder}, {size:,} bytes", markup=False)


def _hashes(bundle: Bundle | None) -> set[str]:
    return set() if bundle is None else {v.sha256 for u in bundle.manifest.units for v in u.files}


def _data(found: Found) -> dict[str, Any]:
    return {
        "digest": found.digest,
        "size_bytes": found.size_bytes,
        "fingerprint": msgspec.to_builtins(found.fingerprint) if found.fingerprint else None,
    }


def _state(found: Found, here: _Here) -> str:
    if found.state != "ok" or found.fingerprint is None:
        return found.state
    other = here.other(found.fingerprint)
    return "ok" if not other else "other device" if "device" in other else "other version"


def _row(found: Found, here: _Here) -> list[str]:
    from jetson.engines.tensorrt.choose import tensorrt_name

    size, made = f"{found.size_bytes / MB:.1f}", found.fingerprint
    if made is None:
        return [f"({found.digest[:16]})", "-", "-", "-", found.state, "-", size, "-"]
    key = made.key
    built_by, state = tensorrt_name(key.package, key.version), _state(found, here)
    return [made.unit, key.precision, built_by, str(key.target), state, str(key.max_batch), size, _age(made.created)]


def _age(created: str) -> str:
    """How long ago, in the unit that fits; `-` when the text is no moment."""
    try:
        then = datetime.datetime.fromisoformat(created)
        seconds = (datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return "-"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(0, seconds):.0f} s"
