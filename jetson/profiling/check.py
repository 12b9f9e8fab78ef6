"""Whether a profile speaks of this bundle, on this device, in this engine."""

from __future__ import annotations

import msgspec

from jetson.bundle import Bundle
from jetson.errors import ProfileError
from jetson.profiling.device import this_device
from jetson.profiling.profile import EngineInfo, LatencyProfile


def check_profile(profile: LatencyProfile, bundle: Bundle, engine: EngineInfo) -> None:
    """Refuse a profile whose latencies would not be those of the units about to run.

    Raises:
        ProfileError: what differs, and the command that makes the right profile.
    """
    remedy = f"make one for this with: offramp profile {bundle.path} --out profile.json"
    manifest = bundle.manifest
    if profile.bundle != manifest.identity:
        raise ProfileError(f"the profile was measured on another bundle than {bundle.path}; {remedy}")
    if set(profile.units) != {u.name for u in manifest.units} or [e.name for e in profile.exits] != [
        e.name for e in manifest.exits
    ]:
        raise ProfileError(f"the profile does not name the units and exits of {bundle.path}; {remedy}")
    for what, measured, here in (
        ("device", msgspec.to_builtins(profile.device), msgspec.to_builtins(this_device())),
        ("engine", msgspec.to_builtins(profile.engine), msgspec.to_builtins(engine)),
    ):
        for key, value in measured.items():
            if value != here[key]:
                raise ProfileError(
                    f"the profile was measured on another {what} ({key}: {value!r} there, {here[key]!r} here); {remedy}"
                )
