"""Measure a bundle on this device: all units and all exits, interleaved, through the runtime that will use them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jetson.bundle import Bundle
from jetson.engines import Engines, load_engines
from jetson.errors import BadInput
from jetson.log import get_logger
from jetson.manifest import Manifest, Precision
from jetson.preprocessing import MAX_EDGE
from jetson.profiling import circumstances
from jetson.profiling.batches import BatchTimes
from jetson.profiling.bursts import BURST_S, measure_energy
from jetson.profiling.call import call_ms
from jetson.profiling.device import conditions, this_device
from jetson.profiling.energy import Energy
from jetson.profiling.profile import Circumstance, ExitLatency, LatencyProfile, Sketch, UnitLatency
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import EveryExit, Policy, StaticExit
from jetson.telemetry import sources
from jetson.telemetry.reading import Reading

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
    batches: Sequence[int] = (),
    others: Sequence[str] = (),
    idle_s: float = circumstances.IDLE_S,
    burst_s: float | None = BURST_S,
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
        batches: measure so many frames at once as well, each round to one exit in turn; there are then at least
            `batches.LEAST` rounds for every exit.
        others: circumstances to measure latency under as well, of `circumstances.NAMES`, each for `seconds`.
        idle_s: the pause before each inference of `idle`.
        burst_s: how long each unit is run for its energy, where the board tells what it draws; None not to.
        progress: told the share that is done, 0..1.

    Raises:
        BadInput: a number that cannot be used.
        BundleError, EngineError: the bundle cannot be loaded or run.
    """
    if rounds < 1 or warm_up < 0 or not seconds >= 0:
        raise BadInput("rounds must be at least 1, warm-up and seconds not negative")
    if not set(others) <= set(circumstances.NAMES) or not 0.0 <= idle_s < math.inf:
        raise BadInput(f"circumstances are {', '.join(circumstances.NAMES)}, and a pause is not negative")
    if burst_s is not None and not 0.0 < burst_s < math.inf:
        raise BadInput("a burst lasts longer than nothing")
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
    told = glance() if burst_s else None
    with_energy = told is not None and told.power_w is not None
    tell = Steps(progress, 1 + len(others) + with_energy)
    together = BatchTimes(opened, engines, batches, pixels)
    rounds, least = max(rounds, together.least_rounds), max(min(MIN_ROUNDS, rounds), together.least_rounds)

    def alone(pixels: Any, exit_: int) -> None:
        runtime.policy = policies[1 + exit_]
        runtime.infer(pixels, Budget.unbounded())

    before, began = conditions(), clock()
    done = 0
    for index in range(-warm_up, rounds):
        if index == 0:
            before, began = conditions(glance()), clock()
        spent = clock() - began
        if index >= least and spent > seconds:
            break
        for choice in rng.permutation(len(policies) + len(together.sizes)):
            if choice >= len(policies):
                together.measure(together.sizes[choice - len(policies)], index, alone)
                continue
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
        tell(max(done / rounds, spent / seconds if seconds and index >= 0 else 0.0))
    after = conditions(glance())
    together.close()
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
        batches=together.found(),
        memory=engines.memory,
        call_ms=call_ms(engines.info.name, lambda: engines.run(paths.segments[0])),
        circumstances=tuple(
            _under(name, opened, engines, (height, width), idle_s, seconds, tell.next()) for name in others
        ),
        start=before,
        end=after,
    )
    used = _energy(engines, manifest, burst_s, tell.next()) if burst_s and with_energy else None
    engines.close()
    logger.info("profiled %s in %.2f s: %d rounds of %d paths", opened.path, clock() - began, done, len(policies))
    return profile if used is None else _with_energy(profile, used, manifest)


def _with_energy(profile: LatencyProfile, used: Energy, manifest: Manifest) -> LatencyProfile:
    # A branch that is fused into a segment is in the segment's energy.
    mj = {name: unit.mj for name, unit in used.units.items()}
    exits = tuple(
        msgspec.structs.replace(e, energy_mj=sum(mj.get(unit, 0.0) for unit in stated.units))
        for e, stated in zip(profile.exits, manifest.exits, strict=True)
    )
    return msgspec.structs.replace(profile, energy=used, power_w=used.power_w, exits=exits)


def _under(
    name: str,
    bundle: Bundle,
    engines: Engines,
    frame: tuple[int, int],
    idle_s: float,
    seconds: float,
    progress: Progress,
) -> Circumstance:
    if name == "cold":
        return circumstances.cold(bundle, engines, frame, seconds, progress)
    if name == "idle":
        return circumstances.idle(bundle, engines, frame, idle_s, seconds, progress)
    return circumstances.loaded(bundle, engines, frame, seconds, progress)


def _energy(engines: Engines, manifest: Manifest, burst_s: float, progress: Progress) -> Energy | None:
    recorder = sources.record()
    if recorder is None:
        return None
    with recorder:
        return measure_energy(engines, manifest, recorder, burst_s, progress)


def glance() -> Reading | None:
    """What the board's telemetry tells now; nothing of it runs on afterwards, beside what is measured."""
    recorder = sources.record()
    if recorder is None:
        return None
    with recorder:
        return recorder.next()


class Steps:
    """Progress through several steps of about the same length."""

    def __init__(self, progress: Progress | None, steps: int) -> None:
        """Begin with the first.

        Args:
            progress: told the share of all steps that is done; None for nobody.
            steps: how many there are.
        """
        self._progress, self._steps, self._done = progress, steps, 0

    def __call__(self, share: float) -> None:
        """So much of the present step is done, 0..1."""
        if self._progress is not None:
            self._progress((self._done + max(0.0, min(1.0, share))) / self._steps)

    def next(self) -> Progress:
        """The next step begins."""
        self._done += 1
        return self
