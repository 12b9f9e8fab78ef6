"""A scenario in blocks of frames, with the latencies that every policy meets alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from jetson.manifest import Manifest
from jetson.profiling.profile import LEVELS, LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.outlook import worth_of
from jetson.scheduling.paths import Paths
from toolkit.simulate.course import Course, Integers, Recorded
from toolkit.simulate.scenarios import Scenario

BLOCK = 1 << 14
"""Frames."""


def recorded_of(manifest: Manifest, samples: Samples) -> Recorded:
    """Units and answers of a bundle as `simulate` takes them."""
    paths = Paths.of(manifest)
    posterior = np.zeros((len(manifest.exits), 2, 4))
    for k, exit_ in enumerate(manifest.exits):
        alone = (0.0, 1.0) if exit_.posterior is None else exit_.posterior.alone
        posterior[k, :, :2] = alone
        if exit_.posterior is not None and exit_.posterior.joined is not None:
            posterior[k, 1] = exit_.posterior.joined
    if samples.output is not None:
        named, score = np.zeros(samples.output.shape[:2], np.int32), samples.output[:, :, 0]
    else:
        assert samples.class_index is not None and samples.score is not None
        named, score = samples.class_index, samples.score
    return Recorded(
        segments=np.array(paths.segments, np.int64),
        branches=np.array(paths.branches, np.int64),
        worth=worth_of(manifest, samples),
        named=np.ascontiguousarray(named, np.int32),
        score=np.ascontiguousarray(score, np.float32),
        posterior=posterior,
        joins=samples.output is None,
    )


def choose_samples(samples: int, frames: int, seed: int) -> Integers:
    """(frames,): whose answers each frame has; in every round all samples come once."""
    rng = np.random.default_rng([seed, 1])
    rounds = [rng.permutation(samples) for _ in range(-(-frames // samples))]
    return np.concatenate(rounds)[:frames].astype(np.int64)


def blocks(
    scenario: Scenario, profile: LatencyProfile, names: list[str], samples: Integers, seed: int, size: int = BLOCK
) -> Iterator[Course]:
    """The scenario, a block of frames after the other.

    Args:
        scenario: what happens.
        profile: whose distributions the latencies are drawn from, independently of one another.
        names: of the units, by index.
        samples: (frames,), whose answers each frame has.
        seed: of the latencies.
        size: of a block; another size draws other latencies.
    """
    quantiles = [profile.preprocess_ms.quantiles, *(profile.units[n].end_to_end_ms.quantiles for n in names)]
    frames = len(scenario)
    for number, first in enumerate(range(0, frames, size)):
        some = slice(first, min(first + size, frames))
        n = some.stop - first
        rng = np.random.default_rng([seed, 2, number])
        draws = np.empty((n, len(quantiles)), np.float32)
        for column, values in enumerate(quantiles):
            draws[:, column] = np.interp(rng.random(n), LEVELS, values)
        if scenario.spikes > 0.0:
            hit = rng.random((n, len(names))) < scenario.spikes
            draws[:, 1:][hit] *= np.exp(rng.uniform(math.log(3.0), math.log(10.0), int(hit.sum())))
        never = np.isnan(scenario.revised_ms[some])
        yield Course(
            t_ms=scenario.t_ms[some],
            gap_ms=scenario.gap_ms[some],
            budget_ms=scenario.budget_ms[some],
            revise_at_ms=np.where(never, math.inf, scenario.revise_at_ms[some]),
            revised_ms=np.where(never, scenario.budget_ms[some], scenario.revised_ms[some]),
            hidden=scenario.hidden[some],
            wake=scenario.wake[some],
            sample=samples[some],
            draws_ms=draws,
            change_ms=scenario.change_ms,
            pace=scenario.pace,
            heat=np.array(scenario.heat),
        )
