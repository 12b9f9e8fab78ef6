"""Bundles of four exits with recorded answers, and profiles of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from jetson.beliefs import Posterior
from jetson.bundle import Bundle
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from tests.bundles import fake_profile, tiny_bundle

FRAMES = 200
MEDIANS = {"branch-2-mlp": 0.1, "branch-2-cnn-add": 0.3, "branch-4-vit": 0.4, "head": 0.1}


class World(NamedTuple):
    """All that a simulation needs."""

    bundle: Bundle
    profile: LatencyProfile
    outputs: dict[str, np.ndarray]
    """By role: (n, exits, outputs), what engines give."""
    samples: dict[str, Samples]


def make_outputs(task: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What four exits answer, the later the better, and what is right."""
    rng = np.random.default_rng(seed)
    skill = np.array([0.6, 0.9, 1.4, 2.0])[None, :, None]
    noise = rng.normal(0.0, 1.0, (FRAMES, 1, 3)) + 0.6 * rng.normal(0.0, 1.0, (FRAMES, 4, 3))
    if task == "regression":
        target = rng.normal(0.0, 2.0, (FRAMES, 2)).astype(np.float32)
        return (target[:, None] + noise[:, :, :2] / skill).astype(np.float32), target
    target = rng.integers(0, 3, FRAMES)
    return (2.0 * skill * np.eye(3)[target][:, None] + noise).astype(np.float32), target


def with_posteriors(bundle: Bundle) -> Bundle:
    """Every exit believes more when the one before agrees."""
    exits = tuple(
        msgspec.structs.replace(e, posterior=Posterior(alone=(-0.1, 0.9), joined=(0.0, 0.7, 0.3, 0.4) if k else None))
        for k, e in enumerate(bundle.manifest.exits)
    )
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, exits=exits))


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    found = {}
    for task in ("classification", "regression"):
        made = {role: make_outputs(task, seed) for seed, role in enumerate(("fit", "select", "test"))}
        temperatures = [1.5] * 4 if task == "classification" else None
        samples = {role: Samples.of(outputs, target, temperatures) for role, (outputs, target) in made.items()}
        folder = tmp_path_factory.mktemp("simulate") / task
        worth = samples["select"].worth.mean(axis=0).tolist()
        size = 3 if task == "classification" else 2
        bundle = tiny_bundle(folder, task=task, quality=worth, outputs=size, samples=samples)
        if task == "classification":
            bundle = with_posteriors(bundle)
        profile = fake_profile(bundle, segment_ms=0.5, medians=MEDIANS, spread=0.08, preprocess_ms=0.05)
        found[task] = World(bundle, profile, {role: outputs for role, (outputs, _) in made.items()}, samples)
    return found


@pytest.fixture
def contest(worlds: dict[str, World]) -> Callable[..., Any]:
    """A function that simulates a scenario by name, uncompiled unless told otherwise."""
    from toolkit.simulate import scenarios
    from toolkit.simulate.contest import run_contest
    from toolkit.simulate.contestants import Rewards, usual
    from toolkit.simulate.loop import simulate

    def run(
        name: str = "stationary",
        frames: int = 300,
        task: str = "classification",
        names: tuple[str, ...] | None = None,
        loop: Callable[..., None] = simulate,
        hidden: bool = False,
        seed: int = 0,
        **rewards: Any,
    ) -> dict[str, dict[str, Any]]:
        world = worlds[task]
        course = scenarios.make(name, world.profile, frames, np.random.default_rng([seed, 0]))
        course = scenarios.hide(course) if hidden else course
        chosen = names or usual(world.bundle.manifest)
        tallies = run_contest(
            loop, chosen, world.bundle.manifest, world.profile, world.samples, course, Rewards(**rewards), seed=seed
        )
        oracles = tallies["oracle-latency"], tallies["oracle-full"]
        return {n: tallies[n].figures(n, *oracles) for n in tallies}

    return run
