"""Policies that the planner is compared with, each a few lines over the same rules. `make` knows them by name."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from jetson.confidence import logit
from jetson.errors import BadInput
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.outlook import plain_outlook
from jetson.scheduling.paths import Paths, remaining_quantiles
from jetson.scheduling.replan import Replan
from jetson.scheduling.ruled import Ruled, rules_for
from jetson.scheduling.rules import ALERT, DEEPEST, STATIC, THRESHOLD

SURE = 0.9
"""Confidence at which `threshold` stops when nobody says."""


def static(manifest: Manifest, profile: LatencyProfile, exit_: int) -> Ruled:
    """Always the same exit, counted from 0, whatever the budget."""
    paths, names = _parts(manifest)
    return Ruled(f"static-{exit_ + 1}", manifest, profile, rules_for(STATIC, paths, profile, names, target=exit_))


def deepest(manifest: Manifest, profile: LatencyProfile, by: str) -> Ruled:
    """Once a frame, the deepest exit whose profiled latency fits the budget.

    Args:
        manifest: of the bundle.
        profile: measured on this device; what it says is believed, however the device runs now.
        by: `mean`, or a quantile such as `p95`.
    """
    paths, names = _parts(manifest)
    if by == "mean":
        mean = [profile.units[n].end_to_end_ms.mean for n in names]
        ways = [
            sum(mean[s] for s in paths.segments[:k]) + mean[b]
            for k, b in zip(paths.stages, paths.branches, strict=True)
        ]
        needed = np.array([ways])
    else:
        needed = remaining_quantiles(paths, profile, names, float(by[1:]) / 100)
    return Ruled(f"deepest-{by}", manifest, profile, rules_for(DEEPEST, paths, profile, names, needed_ms=needed))


def alert(manifest: Manifest, profile: LatencyProfile) -> Ruled:
    """After ALERT (Wan et al., ATC 2020): once a frame, the highest expected quality under a filtered slowdown."""
    paths, names = _parts(manifest)
    needed = remaining_quantiles(paths, profile, names, 0.5)
    # In regression quality is minus the error, and no answer would be better than any.
    worth = plain_outlook(manifest).worth[:, 0]
    return Ruled("alert", manifest, profile, rules_for(ALERT, paths, profile, names, needed_ms=needed, quality=worth))


def threshold(manifest: Manifest, profile: LatencyProfile, sure: float = SURE) -> Ruled:
    """Every exit in turn until one is sure enough, unless the next would come too late (its p95, slowdown included)."""
    paths, names = _parts(manifest)
    needed = remaining_quantiles(paths, profile, names, 0.95)
    rules = rules_for(THRESHOLD, paths, profile, names, needed_ms=needed)._replace(level=logit(sure))
    return Ruled(f"threshold-{sure:g}", manifest, profile, rules)


_NO_THRESHOLD = "policy {}: regression has no confidence that could be held against a threshold"
SIMPLE: dict[str, Callable[[Manifest, LatencyProfile], Ruled]] = {
    "replan": Replan,
    "deepest-mean": lambda m, p: deepest(m, p, "mean"),
    "deepest-p95": lambda m, p: deepest(m, p, "p95"),
    "deepest-p99": lambda m, p: deepest(m, p, "p99"),
    "alert": alert,
    "threshold": threshold,
}
"""By name; `static-K` and `threshold-SHARE` are known to `make` too."""


def refuse_unknown(name: str, manifest: Manifest) -> None:
    """That a policy is there, before anything is loaded for it.

    Raises:
        BadInput: there is none of that name, or not for this bundle.
    """
    if name == "planner" or name in SIMPLE:
        if name == "threshold" and manifest.task != "classification":
            raise BadInput(_NO_THRESHOLD.format(name))
        return
    exits = len(manifest.exits)
    if match := re.fullmatch(r"static-(\d{1,4})", name):
        if not 1 <= int(match[1]) <= exits:
            raise BadInput(f"policy {name}: the bundle has exits 1 to {exits}")
    elif re.fullmatch(r"threshold-(0?\.\d{1,9})", name):
        if manifest.task != "classification":
            raise BadInput(_NO_THRESHOLD.format(name))
    else:
        known = ", ".join(["planner", *SIMPLE, "static-K", "threshold-SHARE"])
        raise BadInput(f"no policy is called {name!r}; there are {known}")


def check_options(
    policy: str | Callable[..., object],
    manifest: Manifest,
    level: float,
    late: str,
    miss_rate: float | None,
    asks: bool,
) -> None:
    """Refuse what `Runtime.load` cannot be asked for, before anything is loaded for it.

    Args:
        policy: its name, or what makes another.
        manifest: of the bundle.
        level: a quantile.
        late: what is to become of late answers.
        miss_rate: to promise; None for no promise.
        asks: whether anything is asked for that only the planner knows: a promise, a price, expected budgets.

    Raises:
        BadInput: one of them cannot be had.
    """
    if not 0.0 < level < 1.0:
        raise BadInput(f"the latency quantile must lie between 0 and 1, not {level!r}")
    if late not in ("lost", "best-so-far"):
        raise BadInput(f"a late answer is lost or the best-so-far counts, not {late!r}")
    if miss_rate is not None and not 0.0 < miss_rate < 1.0:
        raise BadInput(f"a promised miss rate lies between 0 and 1, not at {miss_rate!r}")
    if isinstance(policy, str):
        refuse_unknown(policy, manifest)
        if policy != "planner" and asks:
            raise BadInput(
                f"policy {policy} knows neither a miss rate to promise, nor a price of time, nor expected budgets: "
                "take planner"
            )


def make(name: str, manifest: Manifest, profile: LatencyProfile, level: float = 0.95, ahead: bool = False) -> Ruled:
    """The policy called so.

    Args:
        name: of the policy.
        manifest: of the bundle.
        profile: measured on this device.
        level: `replan`: the latency quantile that must fit.
        ahead: `replan`: whether a path is enqueued as a whole.

    Raises:
        BadInput: there is none of that name, or not for this bundle.
    """
    refuse_unknown(name, manifest)
    if name == "replan":
        return Replan(manifest, profile, level, ahead)
    if name in SIMPLE:
        return SIMPLE[name](manifest, profile)
    kind, _, figure = name.partition("-")
    if kind == "static":
        return static(manifest, profile, int(figure) - 1)
    return threshold(manifest, profile, float(figure))


def _parts(manifest: Manifest) -> tuple[Paths, list[str]]:
    return Paths.of(manifest), [u.name for u in manifest.units]
