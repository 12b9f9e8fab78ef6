"""Which branches become part of their segment: those whose own boundary costs more than skipping them saves.

A fused branch runs whenever its segment runs. That saves a call of the engine in each frame that takes the branch, and
costs the branch's work in each frame that would have skipped it. The runtime's own share of a boundary (deciding,
reading the answer) is the same either way and does not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.cutting import Choice
from jetson.errors import ProfileError
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.heldout import budgets_over, draw_latencies, walk
from jetson.scheduling.paths import Paths
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import State

FRAMES = 4000
"""Of the simulation that tells how often each branch is taken."""
SEED = 11
AHEAD = ("tensorrt",)
"""Engines that run a known budget's whole path in one go."""


class Weighed(NamedTuple):
    """The two sides, in milliseconds a frame, over the frames that run the segment."""

    boundary_ms: float
    """What the branch's own boundary costs."""
    skipping_ms: float
    """What skipping the branch saves."""

    @property
    def fuse(self) -> bool:
        """Whether the boundary costs more."""
        return self.boundary_ms > self.skipping_ms


def weigh(share: float, call_ms: float, branch_ms: float) -> Weighed:
    """Hold a branch's boundary against skipping it.

    Args:
        share: of the frames that run the segment, those that take the branch.
        call_ms: what a call of the engine takes beside the unit's own work.
        branch_ms: the branch on its own, that call included.
    """
    return Weighed(share * call_ms, (1.0 - share) * max(branch_ms - call_ms, 0.0))


def pays_from(call_ms: float, branch_ms: float) -> float:
    """The share of a segment's frames above which fusing the branch pays; arguments as of `weigh`."""
    return max(branch_ms - call_ms, 0.0) / branch_ms if branch_ms > 0.0 else 1.0


def cost_of_call(manifest: Manifest, profile: LatencyProfile) -> float:
    """What a call of the engine takes beside a unit's own work, milliseconds.

    With a GPU: what the straight way to an exit takes beside preprocessing and the GPU's work, shared out among its
    units; the median over exits.

    Raises:
        ProfileError: the profile does not tell.
    """
    if profile.call_ms is not None:
        return profile.call_ms
    beside = []
    for exit_, measured in zip(manifest.exits, profile.exits, strict=True):
        on_gpu = [sketch.median for u in exit_.units if (sketch := profile.units[u].gpu_ms) is not None]
        if len(on_gpu) == len(exit_.units):
            left = measured.end_to_end_ms.median - profile.preprocess_ms.median - sum(on_gpu)
            beside.append(max(left, 0.0) / len(on_gpu))
    if not beside:
        raise ProfileError(
            "the profile does not tell what a call of the engine takes, an older offramp made it; measure again with: "
            "offramp profile"
        )
    return statistics.median(beside)


def branch_time(profile: LatencyProfile, branch: str, call_ms: float) -> float:
    """A branch on its own, the call included, milliseconds; with a GPU its time there and a call."""
    unit = profile.units[branch]
    return unit.host_ms.median if unit.gpu_ms is None else unit.gpu_ms.median + call_ms


def shares_taken(
    manifest: Manifest, profile: LatencyProfile, samples: Mapping[str, Samples]
) -> npt.NDArray[np.float64]:
    """By exit: of the frames that run its last segment, the share that takes its branch.

    The planner answers recorded frames within budgets spread from the quickest exit's time to the deepest one's.

    Args:
        manifest: of the bundle.
        profile: measured on it.
        samples: what its exits answered; `select` is replayed.
    """
    planner = Planner(manifest, profile, samples)
    paths = Paths.of(manifest)
    rng = np.random.default_rng(SEED)
    budgets = budgets_over(profile, rng.random(FRAMES))
    if profile.engine.name in AHEAD:
        chosen = [planner.commit(State(remaining_ms=ms)) for ms in budgets.tolist()]
        ran = np.equal.outer(np.array(chosen), np.arange(len(manifest.exits)))
        stages = np.asarray(paths.stages)[np.array(chosen, np.int64)]
    else:
        select = samples["select"]
        frames = rng.permutation(np.arange(FRAMES) % len(select))
        names = [u.name for u in manifest.units]
        latencies = draw_latencies(profile, names, FRAMES, SEED)
        went = walk(planner.plan.known, paths, manifest, select, frames, latencies, budgets)
        ran, stages = went.ran, went.stages
    reached = stages[:, None] >= np.asarray(paths.stages)
    shares: npt.NDArray[np.float64] = (ran & reached).sum(axis=0) / np.maximum(reached.sum(axis=0), 1)
    return shares


def decide(manifest: Manifest, profile: LatencyProfile, samples: Mapping[str, Samples]) -> tuple[Choice, ...]:
    """Weigh every branch of a bundle whose branches are all apart.

    Args:
        manifest: of the bundle.
        profile: measured on it.
        samples: what its exits answered, by role.

    Raises:
        ProfileError: the profile does not tell what a boundary costs, or there are no recorded answers.
    """
    if "select" not in samples:
        raise ProfileError("the bundle records no answers to simulate with; build it again without --profile")
    call_ms = cost_of_call(manifest, profile)
    choices = []
    for exit_, share in zip(manifest.exits, shares_taken(manifest, profile, samples).tolist(), strict=True):
        *_, segment, branch = exit_.units
        found = weigh(share, call_ms, branch_time(profile, branch, call_ms))
        choices.append(
            Choice(
                branch=branch,
                segment=segment,
                fused=found.fuse,
                reason=f"{share:.1%} of the frames that run {segment} take it",
                boundary_ms=found.boundary_ms,
                skipping_ms=found.skipping_ms,
            )
        )
    return tuple(choices)
