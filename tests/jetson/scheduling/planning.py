"""Small problems for planners: at random, and bundles whose answers are as their outlook has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jetson.bundle import Bundle
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.costs import Costs, Kernel
from jetson.scheduling.outlook import Outlook
from jetson.scheduling.paths import Paths
from tests.bundles import fake_profile, tiny_bundle

FRAMES = 8000
SKILL = (0.3, 0.6, 1.0, 1.6)
ERROR = (3.0, 2.4, 1.6, 1.0)
MEDIANS = {"branch-2-mlp": 0.1, "branch-2-cnn-add": 0.3, "branch-4-vit": 0.4, "head": 0.1}


def random_problem(stages: tuple[int, ...], buckets: int, seed: int) -> tuple[Paths, Outlook, Costs]:
    """Paths, outlook and costs; `stages` are the segments that each exit needs."""
    rng, exits = np.random.default_rng(seed), len(stages)
    branches = tuple(range(stages[-1], stages[-1] + exits))
    paths = Paths(tuple(range(stages[-1])), branches, stages, tuple(0.1 * k for k in range(exits)))
    move = rng.dirichlet(np.ones(buckets), (exits, exits, buckets))
    move *= np.triu(np.ones((exits, exits)), 1)[:, :, None, None]
    worth = np.sort(rng.random((exits, buckets)), axis=1)
    edges = np.sort(rng.normal(size=(exits, buckets - 1)), axis=1)
    outlook = Outlook(worth, rng.dirichlet(np.ones(buckets), exits), move, edges)

    def unit() -> Kernel:
        steps = np.sort(rng.choice(9, size=rng.integers(2, 5), replace=False))
        shares = rng.dirichlet(np.ones(len(steps)))
        return Kernel(tuple(steps.tolist()), tuple(shares.tolist()), 0.1 * float(steps @ shares) + 1e-3)

    segments, ends = (tuple(unit() for _ in range(n)) for n in (stages[-1], exits))
    return paths, outlook, Costs(0.1, segments, ends, 60)


def answers(task: str, seed: int) -> Samples:
    """Answers of four exits that tell nothing of one another, so that the chain of an outlook is the truth."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        target = np.zeros((FRAMES, 2), np.float32)
        spread = np.array(ERROR)[None, :, None]
        said = rng.uniform(0.5, 2.0, (FRAMES, 4, 1)) * spread * np.array([1.0, 0.0])
        return Samples(target=target, output=said.astype(np.float32))
    score = rng.normal(SKILL, 1.3, (FRAMES, 4))
    right = rng.random((FRAMES, 4)) < 1.0 / (1.0 + np.exp(-score))
    target = np.zeros(FRAMES, np.int64)
    return Samples(target=target, class_index=np.where(right, 0, 1).astype(np.int32), score=score.astype(np.float32))


def made(
    folder: Path, task: str = "classification", spread: float = 0.25, preprocess_ms: float = 0.05
) -> tuple[Bundle, LatencyProfile, Samples]:
    """A bundle whose exits are worth what its answers are, a profile, and the answers."""
    samples = answers(task, 5)
    worth = samples.worth.mean(axis=0).tolist()
    size = 3 if task == "classification" else 2
    bundle = tiny_bundle(folder, task=task, quality=worth, outputs=size, samples={"fit": samples, "select": samples})
    profile = fake_profile(bundle, segment_ms=0.5, medians=MEDIANS, spread=spread, preprocess_ms=preprocess_ms)
    return bundle, profile, samples
