"""Who takes part in a simulation: the shipped policies by name, and two oracles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jetson.errors import BadInput
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.baselines import SIMPLE, make, refuse_unknown
from jetson.scheduling.induction import Late, Prices
from jetson.scheduling.paths import Paths
from jetson.scheduling.planner import Planner
from jetson.scheduling.ruled import Ruled, rules_for
from jetson.scheduling.rules import GIVEN
from toolkit.simulate.loop import BY_RULES, FULL_ORACLE, LATENCY_ORACLE

PLANNERS: dict[str, bool | None] = {"planner": None, "planner-plain": False, "planner-confident": True}
"""By name, whether to look at answers; None for what wins the planner's own held-out replay."""
ORACLES = {"oracle-latency": LATENCY_ORACLE, "oracle-full": FULL_ORACLE}
"""Of what fits, the first takes the exit that is best on average, the second one that is right on this frame."""


@dataclass(frozen=True)
class Rewards:
    """What counts, beside the worth of answers."""

    prices: Prices = field(default_factory=Prices)
    late: Late = "lost"
    miss_rate: float | None = None
    """That the planner is to promise."""


def usual(manifest: Manifest) -> tuple[str, ...]:
    """The policies that are compared when nobody names them."""
    sure = ("threshold",) if manifest.task == "classification" else ()
    static = f"static-{len(manifest.exits)}"
    return ("planner", "replan", "deepest-p95", "alert", *sure, static, *ORACLES)


def check_names(names: Sequence[str], manifest: Manifest) -> None:
    """Refuse names of no policy, before any table is solved.

    Raises:
        BadInput: there is none of that name, or not for this bundle.
    """
    for name in names:
        if name in PLANNERS or name in ORACLES:
            continue
        try:
            refuse_unknown(name, manifest)
        except BadInput as error:
            if not str(error).startswith("no policy"):
                raise
            known = ", ".join([*PLANNERS, *SIMPLE, "static-K", "threshold-SHARE", *ORACLES])
            raise BadInput(f"no policy is called {name!r}; there are {known}") from None


def contestant(
    name: str,
    manifest: Manifest,
    profile: LatencyProfile,
    samples: Mapping[str, Samples],
    rewards: Rewards,
) -> Ruled:
    """A policy that remembers nothing yet.

    Args:
        name: one that `check_names` lets pass.
        manifest: of the bundle.
        profile: measured latencies.
        samples: recorded answers by role; the planner learns from them.
        rewards: that the planner maximises.
    """
    if name in PLANNERS:
        chosen: dict[str, Any] = {"prices": rewards.prices, "late": rewards.late, "miss_rate": rewards.miss_rate}
        planner = Planner(manifest, profile, samples, confidence=PLANNERS[name], **chosen)
        planner.name = name
        return planner
    if name in ORACLES:
        rules = rules_for(GIVEN, Paths.of(manifest), profile, [u.name for u in manifest.units])
        return Ruled(name, manifest, profile, rules)
    made = make(name, manifest, profile)
    made.name = name
    return made


def who_decides(name: str) -> int:
    """Rules, or which oracle."""
    return ORACLES.get(name, BY_RULES)
