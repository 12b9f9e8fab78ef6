"""Which precision each unit runs in: the quickest that was measured, of those that passed their checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jetson.errors import ProfileError
from jetson.manifest import Manifest, Precision
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile

Plans = dict[str, tuple[Precision, ...]]


def plans(
    manifest: Manifest, profiles: Sequence[LatencyProfile], files: Sequence[Path]
) -> tuple[Plans, tuple[str, ...]]:
    """By engine the quickest precision of every unit.

    Args:
        manifest: of the bundle; what it holds in a precision has passed that precision's checks.
        profiles: of this bundle, each measured in some precisions.
        files: where they come from, for messages.

    Returns:
        The plans, and a line on each.

    Raises:
        ProfileError: a profile of another bundle, or two of one engine from different devices.
    """
    found: dict[str, list[tuple[LatencyProfile, Path]]] = {}
    for profile, file in zip(profiles, files, strict=True):
        if set(profile.units) != {u.name for u in manifest.units} or not speaks_of(profile, manifest):
            raise ProfileError(
                f"{file}: measured on another bundle, or on units that have been made anew since; measure again with: "
                "offramp profile BUNDLE"
            )
        of_engine = found.setdefault(profile.engine.name, [])
        for before, other in of_engine[:1]:
            if (before.device, before.engine) != (profile.device, profile.engine):
                raise ProfileError(
                    f"{file}: measured on another device, or in another version or number of threads of "
                    f"{profile.engine.name}, than {other}; precisions are compared on one"
                )
        of_engine.append((profile, file))
    chosen = {name: _quickest(manifest, [p for p, _ in measured]) for name, measured in found.items()}
    return chosen, tuple(_told(name, chosen[name], measured, manifest) for name, measured in found.items())


def plans_left(before: Manifest, now: Manifest) -> Plans:
    """The plans whose units are still what they were when they were measured."""
    return {name: plan for name, plan in before.plans.items() if _same(before, now, plan)}


def _same(before: Manifest, now: Manifest, plan: tuple[Precision, ...]) -> bool:
    held = all(p in [v.precision for v in u.files] for u, p in zip(now.units, plan, strict=True))
    return held and before.identity_at(plan) == now.identity_at(plan)


def _quickest(manifest: Manifest, profiles: Sequence[LatencyProfile]) -> tuple[Precision, ...]:
    found: dict[str, Precision] = {}
    for unit in manifest.filed:
        measured = [p.units[unit.name] for p in profiles]
        found[unit.name] = min(measured, key=lambda m: m.host_ms.median).precision
    return tuple(found[u.fused or u.name] for u in manifest.units)


def _told(
    name: str, plan: tuple[Precision, ...], measured: Sequence[tuple[LatencyProfile, Path]], manifest: Manifest
) -> str:
    units = [u.name for u in manifest.units]
    times = [[profile.units[u].host_ms.median for u in units] for profile, _ in measured]
    counts = ", ".join(f"{plan.count(p)} in {p}" for p in dict.fromkeys(plan))
    own = [file for profile, file in measured if tuple(profile.units[u].precision for u in units) == plan]
    profile = f"its profile is {own[0]}" if own else f"measure it with: offramp profile BUNDLE --engine {name}"
    return (
        f"{name}: {counts}; all units together take {sum(map(min, *times, times[0])):.3f} ms, in the best single "
        f"profile {min(map(sum, times)):.3f} ms. This is what runs when neither a precision nor a profile says "
        f"otherwise; {profile}"
    )
