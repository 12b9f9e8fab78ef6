"""Whether a profile speaks of this bundle, on this device, in this engine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jetson.bundle import Bundle
from jetson.errors import ProfileError
from jetson.manifest import Manifest, Precision
from jetson.profiling.device import this_device
from jetson.profiling.profile import Device, EngineInfo, LatencyProfile
from jetson.record import Record


def check_profile(profile: LatencyProfile, bundle: Bundle, here: Device | None = None) -> None:
    """Refuse a profile of another bundle or another device, before any engine is loaded.

    Args:
        profile: that is to be believed.
        bundle: that it speaks of.
        here: this device, where it has been asked already.

    Raises:
        ProfileError: what differs, and the command that makes the right profile.
    """
    manifest = bundle.manifest
    if not speaks_of(profile, manifest):
        raise ProfileError(f"the profile was measured on another bundle than {bundle.path}; {_remedy(bundle)}")
    if set(profile.units) != {u.name for u in manifest.units} or [e.name for e in profile.exits] != [
        e.name for e in manifest.exits
    ]:
        raise ProfileError(f"the profile does not name the units and exits of {bundle.path}; {_remedy(bundle)}")
    _compare("device", profile.device, here or this_device(), bundle)


def speaks_of(profile: LatencyProfile, manifest: Manifest) -> bool:
    """Whether the profile was measured on these very units, in precisions they still have."""
    found = profile.units
    precisions = [found[u.name].precision if u.name in found else u.precision for u in manifest.units]
    held = all(p in [v.precision for v in u.files] for u, p in zip(manifest.units, precisions, strict=True))
    return held and profile.bundle == manifest.identity_at(precisions)


def check_engine(profile: LatencyProfile, bundle: Bundle, engine: EngineInfo, precisions: Sequence[Precision]) -> None:
    """Refuse a profile that was measured with another engine, version, number of threads or precision.

    Args:
        profile: that is to be believed.
        bundle: that it speaks of.
        engine: what is loaded.
        precisions: the one each unit is loaded in, in the order of the units.

    Raises:
        ProfileError: what differs, and the command that makes the right profile.
    """
    _compare("engine", profile.engine, engine, bundle)
    for unit, here in zip(bundle.manifest.units, precisions, strict=True):
        measured = profile.units[unit.name].precision
        if measured != here:
            raise ProfileError(
                f"the profile was measured with {unit.name} in {measured}, and it is loaded in {here}; "
                f"{_remedy(bundle)}"
            )


def _compare(what: str, measured: Record, here: Record, bundle: Bundle) -> None:
    found = msgspec.to_builtins(here)
    for key, value in msgspec.to_builtins(measured).items():
        if value != found[key]:
            raise ProfileError(
                f"the profile was measured on another {what} ({key}: {value!r} there, {found[key]!r} here); "
                f"{_remedy(bundle)}"
            )


def _remedy(bundle: Bundle) -> str:
    import shlex

    return f"make one for this with: offramp profile {shlex.quote(str(bundle.path))} --out profile.json"
