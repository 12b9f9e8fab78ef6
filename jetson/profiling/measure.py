"""Measure a bundle on this device: all units and all exits, interleaved, through the runtime that will use them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.errors import BadInput
from jetson.log import get_logger
from jetson.manifest import Precision
from jetson.preprocessing import MAX_EDGE
from jetson.profiling.call import call_ms
from jetson.profiling.device import conditions, this_device
from jetson.profiling.profile import ExitLatency, LatencyProfile, Sketch, UnitLatency
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import EveryExit, Policy, StaticExit

logger = get_logger(__name__)
ROUNDS = 1000
MIN_ROUNDS = 20
Progress = Callable[[float], None]


def measure(
    bundle: Bundle | str | Path,
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    rounds: int = ROUNDS,
    seconds: float = 30.0,
    warm_up: int = 20,
    frame: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> LatencyProfile:
    """Profile a bundle.

    One round is one frame through every branch and one frame straight to each exit, in an order shuffled anew, so
    that a drift of the device falls on all units alike. Frames are random pixels: latency does not depend on them.

    Args:
        bundle: a bundle's folder, or an opened one.
        engine: which engine runs the units.
        threads: for engines on the CPU; all cores when None.
        precision: of every unit; what the engine takes by default when None.
        rounds: stop after so many,
        seconds: or when this time is over, but not before 20 rounds.
        warm_up: rounds that are not counted.
        frame: height and width of the camera frames; the model's own size when None.
        progress: told the share that is done, 0..1.

    Raises:
        BadInput: a number that cannot be used.
        BundleError, EngineError: the bundle cannot be loaded or run.
    """
    if rounds < 1 or warm_up < 0 or not seconds >= 0:
        raise BadInput("rounds must be at least 1, warm-up and seconds not negative")
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    manifest = opened.manifest
    height, width = frame or (manifest.preprocessing.height, manifest.preprocessing.width)
    if not (1 <= height <= MAX_EDGE and 1 <= width <= MAX_EDGE):
        raise BadInput(f"a frame of {height}x{width} cannot be measured")
    precisions = None if precision is None else manifest.nearest(precision)
    engines = load_engines(opened, engine, threads, precisions)
    paths = Paths.of(manifest)
    runtime = Runtime(opened, engines, EveryExit(paths))
    policies: list[Policy] = [EveryExit(paths), *(StaticExit(paths, e) for e in range(len(manifest.exits)))]
    host: dict[str, list[float]] = {u.name: [] for u in manifest.units}
    boundary: dict[str, list[float]] = {u.name: [] for u in manifest.units}
    on_gpu: dict[str, list[float]] = {u.name: [] for u in manifest.units}
    exits: list[list[float]] = [[] for _ in manifest.exits]
    preprocess: list[float] = []
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, height, width, manifest.preprocessing.channels), dtype=np.uint8)
    before, began = conditions(), clock()
    done = 0
    for index in range(-warm_up, rounds):
        if index == 0:
            before, began = conditions(), clock()
        spent = clock() - began
        if index >= min(MIN_ROUNDS, rounds) and spent > seconds:
            break
        for choice in rng.permutation(len(policies)):
            runtime.policy = policies[choice]
            answer = runtime.infer(pixels[(index + choice) % 4], Budget.unbounded())
            if index < 0:
                continue
            preprocess.append(answer.preprocess_ms)
            for run in answer.trace:
                if run.gpu_ms is not None:
                    on_gpu[run.unit].append(run.gpu_ms)
            if choice == 0 or not engines.ahead:  # what was enqueued together was not timed apart
                for run in answer.trace:
                    host[run.unit].append(run.host_ms)
                    boundary[run.unit].append(run.end_to_end_ms)
            if choice:
                exits[choice - 1].append(answer.elapsed_ms)
        done = max(index + 1, 0)
        if progress is not None:
            progress(max(0.0, min(1.0, max(done / rounds, spent / seconds if seconds and index >= 0 else 0.0))))
    profile = LatencyProfile(
        bundle=manifest.identity_at(engines.precisions),
        device=this_device(),
        engine=engines.info,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        frames=done * len(policies),
        frame=(height, width),
        preprocess_ms=Sketch.of(preprocess),
        units={
            unit.name: UnitLatency(
                host_ms=Sketch.of(host[unit.name]),
                end_to_end_ms=Sketch.of(boundary[unit.name]),
                gpu_ms=Sketch.of(on_gpu[unit.name]) if on_gpu[unit.name] else None,
                precision=ran_in,
            )
            for unit, ran_in in zip(manifest.units, engines.precisions, strict=True)
        },
        exits=tuple(
            ExitLatency(name=e.name, end_to_end_ms=Sketch.of(t)) for e, t in zip(manifest.exits, exits, strict=True)
        ),
        memory=engines.memory,
        call_ms=call_ms(engines.info.name, lambda: engines.run(paths.segments[0])),
        start=before,
        end=conditions(),
    )
    engines.close()
    logger.info("profiled %s in %.2f s: %d rounds of %d paths", opened.path, clock() - began, done, len(policies))
    return profile
