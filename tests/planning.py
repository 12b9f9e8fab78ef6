"""Recorded answers and latencies whose truth is known by construction, and a runtime on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import numpy.typing as npt

from jetson import Runtime
from jetson.bundle import Bundle
from jetson.profiling.profile import ExitLatency, LatencyProfile, Sketch, UnitLatency
from jetson.samples import Samples
from tests.bundles import FakeEngines, VirtualClock

FRAME = np.zeros((8, 8), np.uint8)
CLOCKS = ("jetson.runtime.clock", "jetson.walk.clock", "jetson.scheduling.budget.clock")


def answers(scores: npt.ArrayLike, right: npt.ArrayLike, classes: int = 3) -> Samples:
    """Recorded answers of (n, exits) logits and of whether each is right; those that are wrong name one wrong class."""
    score, is_right = np.asarray(scores, np.float32), np.asarray(right, bool)
    target = np.arange(len(score)) % classes
    named = np.where(is_right, target[:, None], (target[:, None] + 1) % classes)
    return Samples(target=target.astype(np.int64), class_index=named.astype(np.int32), score=score)


def honest(n: int, exits: int = 4, seed: int = 0, depth: float = 0.8) -> Samples:
    """Every exit is right as often as it says; deeper ones say more, and of one frame all say much the same."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.0, 1.2, (n, 1)) + depth * np.arange(exits) + rng.normal(0.0, 0.4, (n, exits))
    return answers(scores, rng.random((n, exits)) < 1.0 / (1.0 + np.exp(-scores)))


def values(n: int, exits: int = 4, outputs: int = 2, seed: int = 0) -> Samples:
    """Regression: errors halve from exit to exit, and double where the first output is above 0."""
    rng = np.random.default_rng(seed)
    target = rng.normal(0.0, 2.0, (n, outputs))
    scale = 2.0 * 0.5 ** np.arange(exits) * np.where(target[:, :1] > 0.0, 2.0, 1.0)
    output = target[:, None] + rng.normal(0.0, 1.0, (n, exits, outputs)) * scale[:, :, None]
    return Samples(target=target.astype(np.float32), output=output.astype(np.float32))


def timed(profile: LatencyProfile, bundle: Bundle, draw: Callable[[float], npt.ArrayLike]) -> LatencyProfile:
    """The profile with other times: `draw` gives those of a unit, in milliseconds, from its median."""
    times = {name: np.asarray(draw(unit.end_to_end_ms.median)) for name, unit in profile.units.items()}
    sketches = {name: Sketch.of(ms) for name, ms in times.items()}
    before = profile.preprocess_ms.median
    exits = {e.name: Sketch.of(before + sum(times[u] for u in e.units)) for e in bundle.manifest.exits}
    return msgspec.structs.replace(
        profile,
        units={name: UnitLatency(host_ms=s, end_to_end_ms=s) for name, s in sketches.items()},
        exits=tuple(ExitLatency(name=name, end_to_end_ms=s) for name, s in exits.items()),
    )


@contextmanager
def virtual(
    bundle: Bundle, profile: LatencyProfile, policy: Any, *, preprocess_ms: float = 0.1, **options: Any
) -> Iterator[SimpleNamespace]:
    """A runtime with a policy on engines and a clock that are told what takes how long.

    Yields:
        `runtime`, `infer`, `engines`, `clock`, `policy`; what the policy was told: `gaps` and `ends`.
    """
    clock = VirtualClock()
    engines = FakeEngines(bundle, clock, profile)
    runtime = Runtime(bundle, engines, policy, **options)
    prepare = runtime.preprocessor
    runtime.preprocessor = lambda frame, out: (prepare(frame, out), clock.advance(preprocess_ms))  # type: ignore[assignment, return-value]
    gaps: list[float] = []
    ends: list[Any] = []
    begin, finish = policy.begin, policy.finish
    policy.begin = lambda gap_ms: (gaps.append(gap_ms), begin(gap_ms))
    policy.finish = lambda end: (ends.append(end), finish(end))
    with ExitStack() as stack:
        for name in CLOCKS:
            stack.enter_context(mock.patch(name, clock))
        yield SimpleNamespace(
            runtime=runtime, infer=runtime.infer, engines=engines, clock=clock, policy=policy, gaps=gaps, ends=ends
        )
    policy.begin, policy.finish = begin, finish
