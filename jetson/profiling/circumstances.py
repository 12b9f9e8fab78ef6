"""Measure latency under other circumstances than at leisure: cold, after a pause, and beside another process."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from jetson.bundle import Bundle
from jetson.engines import Engines, load_engines
from jetson.profiling.device import available_cores, conditions
from jetson.profiling.keep_busy import busy
from jetson.profiling.profile import Circumstance, ExitLatency, Sketch
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import EveryExit, Policy, StaticExit

NAMES = ("cold", "idle", "loaded")
IDLE_S = 1.0
"""The pause before each inference of `idle` when nobody says."""
LEAST_ROUNDS = 3
Progress = Callable[[float], None]


class _Heard:
    """What inferences took, by unit and by exit."""

    def __init__(self, bundle: Bundle, engines: Engines, frame: tuple[int, int]) -> None:
        self.bundle, self._ahead = bundle, engines.ahead
        paths = Paths.of(bundle.manifest)
        self.policies: list[Policy] = [EveryExit(paths), *(StaticExit(paths, e) for e in range(len(paths.stages)))]
        self.units: dict[str, list[float]] = {u.name: [] for u in bundle.manifest.units}
        self.exits: list[list[float]] = [[] for _ in paths.stages]
        shape = (4, *frame, bundle.manifest.preprocessing.channels)
        self._pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self._turn = 0

    def infer(self, runtime: Runtime, choice: int) -> None:
        """One inference by one of the policies: through all exits, or straight to one."""
        runtime.policy = self.policies[choice]
        answer = runtime.infer(self._next(), Budget.unbounded())
        if choice:
            self.exits[choice - 1].append(answer.elapsed_ms)
        if choice == 0 or not self._ahead:  # what was enqueued together was not timed apart
            for run in answer.trace:
                self.units[run.unit].append(run.end_to_end_ms)

    def _next(self) -> Any:
        self._turn += 1
        return self._pixels[self._turn % 4]

    def result(self, name: Any, **others: Any) -> Circumstance:
        """All of it as a record."""
        exits = self.bundle.manifest.exits
        return Circumstance(
            name=name,
            units={unit: Sketch.of(ms) for unit, ms in self.units.items()},
            exits=tuple(
                ExitLatency(name=e.name, end_to_end_ms=Sketch.of(t)) for e, t in zip(exits, self.exits, strict=True)
            ),
            end=conditions(),
            **others,
        )


def cold(bundle: Bundle, engines: Engines, frame: tuple[int, int], seconds: float, progress: Progress) -> Circumstance:
    """The first inference after loading, through all exits or straight to one, each with engines loaded anew.

    The process has run units before, the files are in memory, and the device does other things while engines load: what
    a fresh process pays beside (libraries to read, CUDA to set up) is not in it.
    """
    heard = _Heard(bundle, engines, frame)
    load_ms: list[float] = []
    start, began = conditions(), clock()
    rounds = 0
    while rounds < LEAST_ROUNDS or clock() - began < seconds:
        for choice in range(len(heard.policies)):
            before = clock()
            fresh = load_engines(bundle, engines.info.name, engines.info.threads, engines.precisions)
            load_ms.append((clock() - before) * 1e3)
            try:
                heard.infer(Runtime(bundle, fresh, heard.policies[choice]), choice)
            finally:
                fresh.close()
        rounds += 1
        progress(min(1.0, max(rounds / LEAST_ROUNDS * 0.5, (clock() - began) / max(seconds, 1e-9))))
    return heard.result("cold", start=start, load_ms=Sketch.of(load_ms))


def idle(
    bundle: Bundle, engines: Engines, frame: tuple[int, int], pause_s: float, seconds: float, progress: Progress
) -> Circumstance:
    """After the process and its engines have rested: clocks have come down, caches belong to others."""
    heard = _Heard(bundle, engines, frame)
    runtime = Runtime(bundle, engines, heard.policies[0])
    start = conditions()

    def rest(choice: int) -> None:
        time.sleep(pause_s)
        heard.infer(runtime, choice)

    _rounds(heard, rest, seconds, progress)
    return heard.result("idle", start=start, pause_s=pause_s)


def loaded(
    bundle: Bundle, engines: Engines, frame: tuple[int, int], seconds: float, progress: Progress
) -> Circumstance:
    """While other processes run the deepest exit of the same bundle over and over, with as many threads each."""
    heard = _Heard(bundle, engines, frame)
    runtime = Runtime(bundle, engines, heard.policies[0])
    # The CPU is busy when all its cores are, a GPU with one process.
    others = math.ceil(available_cores() / engines.info.threads) if engines.info.name == "onnxruntime" else 1
    with contextlib.ExitStack() as stack:
        busy_ones = [stack.enter_context(busy(bundle, engines)) for _ in range(others)]
        start = conditions()
        _rounds(heard, lambda choice: heard.infer(runtime, choice), seconds, progress)
        found = heard.result("loaded", start=start)
    frames_ms = [other.frame_ms for other in busy_ones if other.frame_ms is not None]
    return msgspec.structs.replace(found, others=others, other_ms=sum(frames_ms) / len(frames_ms))


def _rounds(heard: _Heard, act: Callable[[int], None], seconds: float, progress: Progress) -> None:
    """All policies in an order shuffled anew, again and again until the time is over."""
    rng = np.random.default_rng(0)
    began, rounds = clock(), 0
    while rounds < LEAST_ROUNDS or clock() - began < seconds:
        for choice in rng.permutation(len(heard.policies)):
            act(int(choice))
        rounds += 1
        progress(min(1.0, (clock() - began) / max(seconds, 1e-9)))
