"""What a profile says every exit's way takes, p50 and p99, against the way as it is measured afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.exported import cases_option, cut_model, folder_of, opened
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, tell
from benchmarks.paper.tables import rows_of
from jetson.engines import load_engines
from jetson.manifest import Manifest
from jetson.profiling.measure import measure
from jetson.profiling.profile import LatencyProfile
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget
from jetson.scheduling.costs import kernel
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import Policy, StaticExit

NAME = "prediction"
LEVELS = (0.5, 0.99)
WAYS = {"units": "its units added up", "exits": "the exit's own time"}
"""How a way is predicted, and what tables call that."""


def added_up(manifest: Manifest, profile: LatencyProfile) -> list[list[float]]:
    """Of each exit p50 and p99 in milliseconds: its units on the planner's grid, one independent of the other."""
    found = []
    for exit_ in manifest.exits:
        sketches = [profile.preprocess_ms, *(profile.units[name].end_to_end_ms for name in exit_.units)]
        step = sum(float(s.quantile(0.99)) for s in sketches) / 2048
        chance = np.ones(1)
        for sketch in sketches:
            steps, shares, _ = kernel(sketch, step)
            one = np.zeros(steps[-1] + 1)
            one[list(steps)] = shares
            chance = np.convolve(chance, one)
        reached = np.cumsum(chance)
        found.append([float(np.searchsorted(reached, level)) * step for level in LEVELS])
    return found


def measured(folder: Path, threads: int, seconds: float) -> list[dict[str, Any]]:
    """Profile a model, then run straight to each exit, in an order shuffled anew every round, for as long again.

    Args:
        folder: of the bundle.
        threads: of the engines.
        seconds: to profile for, and to measure afterwards.

    Returns:
        Of each exit: its name, p50 and p99 as measured and as predicted in each way, milliseconds, and how many runs.
    """
    from jetson.scheduling.budget import clock

    bundle = opened(folder)
    manifest = bundle.manifest
    profile = measure(bundle, threads=threads, seconds=seconds, rounds=100_000)
    paths = Paths.of(manifest)
    policies: list[Policy] = [StaticExit(paths, exit_) for exit_ in range(len(manifest.exits))]
    runtime = Runtime(bundle, load_engines(bundle, threads=threads), policies[0])
    rng = np.random.default_rng(1)
    shape = manifest.preprocessing
    pixels = rng.integers(0, 256, (4, shape.height, shape.width, shape.channels), dtype=np.uint8)
    times: list[list[float]] = [[] for _ in policies]
    began = clock()
    while clock() - began < seconds or len(times[0]) < 20:
        for choice in rng.permutation(len(policies)):
            runtime.policy = policies[choice]
            answer = runtime.infer(pixels[rng.integers(4)], Budget.unbounded())
            times[choice].append(answer.elapsed_ms)
    runtime.close()
    predicted = {
        "units": added_up(manifest, profile),
        "exits": [[float(e.end_to_end_ms.quantile(level)) for level in LEVELS] for e in profile.exits],
    }
    return [
        {
            "exit": exit_.name,
            "measured": np.quantile(times[index], LEVELS).round(4).tolist(),
            "predicted": {way: np.round(found[index], 4).tolist() for way, found in predicted.items()},
            "runs": len(times[index]),
        }
        for index, exit_ in enumerate(manifest.exits)
    ]


def main(words: list[str] | None = None) -> None:
    parser = parser_for(NAME, __doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="to profile for, and to measure afterwards")
    parser.add_argument("--repeats", type=int, default=3, help="of all that")
    cases_option(parser)
    options = parser.parse_args(words)
    cases = []
    with folder_of(options) as folder:
        for size in options.sizes:
            for exits in options.exits:
                cut = cut_model(folder, size, exits, options.image, options.patch)
                runs = []
                for repeat in range(options.repeats):
                    runs.append(in_process(measured, cut, options.threads, options.seconds))
                    off = errors(runs[-1:], "units")
                    tell(f"ViT-{size}, {exits} exits, {repeat + 1}: p50 off by {off[0, 0]:.1%}, p99 by {off[1, 0]:.1%}")
                cases.append({"size": size, "exits": exits, "runs": runs})
    record(NAME, options, {"cases": cases})


def errors(runs: list[list[dict[str, Any]]], way: str) -> np.ndarray:
    """How far predictions are off, of what was measured, over exits and runs.

    Args:
        runs: as of `measured`.
        way: of `WAYS`.

    Returns:
        (2, 2): of p50 and of p99, median and largest.
    """
    off = np.array([[np.divide(e["predicted"][way], e["measured"]) - 1.0 for e in run] for run in runs])
    off = np.abs(off.reshape(-1, 2))
    return np.stack([np.median(off, axis=0), off.max(axis=0)], axis=1)


def table(recorded: Recorded) -> str:
    """How far off predictions are, by model and by how they are made."""
    rows = []
    for case in recorded.figures["cases"]:
        for way, words in WAYS.items():
            off = errors(case["runs"], way)
            cells = [f"{100 * off[level, 0]:.1f} ({100 * off[level, 1]:.1f})" for level in range(2)]
            rows.append([f"ViT-{case['size']}", str(case["exits"]), words, *cells])
    runs = [e["runs"] for case in recorded.figures["cases"] for run in case["runs"] for e in run]
    count = min(len(case["runs"]) for case in recorded.figures["cases"])
    return (
        f"Predicted latency of each exit's way against what was measured after profiling, off by so many percent: "
        f"median over exits and {count} repeats (the largest). {min(runs)} or more runs of every exit. "
        f"{setting(recorded)}.\n\n" + rows_of(["model", "exits", "predicted by", "p50, %", "p99, %"], rows, words=3)
    )


if __name__ == "__main__":
    one_line(main, "no figures were written")
