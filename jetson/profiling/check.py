"""Whether a profile speaks of this bundle, on this device, in this engine."""

from __future__ import annotations

import shlex

import msgspec

from jetson.bundle import Bundle
from jetson.errors import ProfileError
from jetson.manifest import Record
from jetson.profiling.device import this_device
from jetson.profiling.profile import EngineInfo, LatencyProfile


def check_profile(profile: LatencyProfile, bundle: Bundle) -> None:
    """Refuse a profile of another bundle or another device, before any engine is loaded.

    Raises:
        ProfileError: what differs, and the command that makes the right profile.
    """
    remedy = _remedy(bundle)
    manifest = bundle.manifest
    if profile.bundle != manifest.identity:
        raise ProfileError(f"the profile was measured on another bundle than {bundle.path}; {remedy}")
    if set(profile.units) != {u.name for u in manifest.units} or [e.name for e in profile.exits] != [
        e.name for e in manifest.exits
    ]:
        raise ProfileError(f"the profile does not name the units and exits of {bundle.path}; {remedy}")
    _compare("device", profile.device, this_device(), remedy)


def check_engine(profile: LatencyProfile, bundle: Bundle, engine: EngineInfo) -> None:
    """Refuse a profile that was measured with another engine, version or number of threads.

    Raises:
        ProfileError: what differs, and the command that makes the right profile.
    """
    _compare("engine", profile.engine, engine, _remedy(bundle))


def _compare(what: str, measured: Record, here: Record, remedy: str) -> None:
    found = msgspec.to_builtins(here)
    for key, value in msgspec.to_builtins(measured).items():
        if value != found[key]:
            raise ProfileError(
                f"the profile was measured on another {what} ({key}: {value!r} there, {found[key]!r} here); {remedy}"
            )


def _remedy(bundle: Bundle) -> str:
    return f"make one for this with: offramp profile {shlex.quote(str(bundle.path))} --out profile.json"
