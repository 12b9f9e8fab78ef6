"""`python -m benchmarks.clock BUNDLE --profile P --data SPEC --out FILE`: policies on the real clock.

The shipped runtime answers test frames on this machine, on the CPU. Policies take turns frame by frame on one loaded
set of engines, in an order drawn anew, so that all of them meet the same machine; each remembers only its own frames.
Meanwhile other processes, one a core, keep the processor busy, on and off. Simulated beside it: budgets of the same
kind on a device as profiled, and on one with the contention that the scenario makes up.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.scheduling import samples_of
from jetson.bundle import Bundle
from jetson.files import write_file
from jetson.profiling.profile import LatencyProfile
from jetson.runtime import Runtime
from jetson.scheduling.baselines import make
from jetson.scheduling.budget import Budget
from jetson.scheduling.heldout import budgets_over
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import Policy
from toolkit import data as data_sets
from toolkit.simulate import scenarios
from toolkit.simulate.compiled import best_loop
from toolkit.simulate.contest import run_contest
from toolkit.simulate.contestants import Rewards

POLICIES = ("planner", "planner-promise", "replan", "alert", "deepest-p95")
BUSY_S, QUIET_S = (0.5, 3.0), (0.5, 3.0)
"""How long the second process computes and rests, drawn evenly between these."""
MISS_RATE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clock", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--profile", type=Path, required=True, help="of the bundle, measured with nothing else running")
    parser.add_argument("--data", required=True, help="what the bundle was made with, as for offramp build")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the four runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args()
    bundle, profile = Bundle.open(options.bundle), LatencyProfile.load(options.profile)
    samples = samples_of(bundle, profile)
    test = data_sets.load(options.data).test.for_channels(bundle.manifest.preprocessing.channels)
    found: dict[str, Any] = {}
    for load in (False, True):
        for hidden in (False, True):
            name = f"{'loaded' if load else 'quiet'}, {'hidden' if hidden else 'known'}"
            found[name] = on_the_clock(bundle, profile, test, load, hidden, options.seconds, options.seed)
            print(
                f"{name}: " + ", ".join(f"{p} {100 * v['acc_at_d']:.1f} %" for p, v in found[name].items()), flush=True
            )
    simulated = {}
    for scenario in ("stationary", "contention", "hidden"):
        course = scenarios.make(scenario, profile, 20_000, np.random.default_rng(options.seed))
        names = [p for p in POLICIES if p != "planner-promise"]
        tallies = run_contest(best_loop(print), names, bundle.manifest, profile, samples, course, Rewards())
        oracles = tallies["oracle-latency"], tallies["oracle-full"]
        simulated[scenario] = {
            p: {k: t.figures(p, *oracles)[k] for k in ("acc_at_d", "miss_rate", "compute_ms")}
            for p, t in tallies.items()
        }
    results = {
        "settings": {"seconds": options.seconds, "seed": options.seed, "miss_rate": MISS_RATE},
        "data": bundle.manifest.provenance.data.name if bundle.manifest.provenance.data else "",
        "threads": profile.engine.threads,
        "cores": profile.device.cores,
        "clock": found,
        "simulated": simulated,
    }
    write_file(options.out, json.dumps(results, indent=1) + "\n")
    print(f"-> {options.out}")


def on_the_clock(
    bundle: Bundle, profile: LatencyProfile, test: Any, load: bool, hidden: bool, seconds: float, seed: int
) -> dict[str, dict[str, float | None]]:
    """Run all policies in turn for a while.

    Returns:
        By policy: `acc_at_d`, `miss_rate` among budgets that at least one policy's answer met on this very frame or the
        profile says can be met, `compute_ms`, `branches_per_frame`, `frames`.
    """
    rng = np.random.default_rng(seed)
    runtime = Runtime.load(bundle, profile, threads=profile.engine.threads)
    policies: dict[str, Policy] = {
        "planner": Planner.of(bundle, profile),
        "planner-promise": Planner.of(bundle, profile, miss_rate=MISS_RATE),
        **{p: make(p, bundle.manifest, profile) for p in POLICIES if not p.startswith("planner")},
    }
    quickest_ms = min(float(e.end_to_end_ms.quantile(0.95)) for e in profile.exits)
    context = multiprocessing.get_context("spawn")
    busy, over = context.Event(), context.Event()
    neighbours = [context.Process(target=_spin, args=(busy, over), daemon=True) for _ in range(profile.device.cores)]
    for neighbour in neighbours if load else ():
        neighbour.start()
    tally: dict[str, list[tuple[bool, bool, bool, float, int]]] = {p: [] for p in policies}
    branches = {e.units[-1] for e in bundle.manifest.exits}
    share, until, switch = float(rng.random()), time.monotonic() + seconds, 0.0
    try:
        while time.monotonic() < until:
            if load and time.monotonic() > switch:
                (busy.clear if busy.is_set() else busy.set)()
                switch = time.monotonic() + rng.uniform(*(BUSY_S if busy.is_set() else QUIET_S))
            index = int(rng.integers(len(test.images)))
            share = _reflected(share + rng.normal(0.0, 0.12))
            budget_ms = float(budgets_over(profile, np.array([share]))[0])
            for name in rng.permutation(list(policies)):
                runtime.policy = policies[name]
                answer = _answer(runtime, test.images[index], budget_ms, hidden)
                in_time = (answer.answered_ms if hidden else answer.elapsed_ms) <= budget_ms
                tally[name].append(
                    (
                        in_time and answer.class_index == int(test.targets[index]),
                        not in_time,
                        budget_ms >= quickest_ms,
                        sum(u.host_ms for u in answer.trace),
                        sum(u.unit in branches for u in answer.trace),
                    )
                )
    finally:
        over.set()
        busy.set()
        for neighbour in neighbours if load else ():
            neighbour.join(5)
        runtime.close()
    return {name: _figures(np.array(rows, np.float64)) for name, rows in tally.items()}


def _figures(rows: np.ndarray) -> dict[str, float | None]:
    right, late, feasible, compute, branches = rows.T
    can = feasible > 0
    return {
        "acc_at_d": float(right.mean()),
        "miss_rate": float(late[can].mean()) if can.any() else None,
        "compute_ms": float(compute.mean()),
        "branches_per_frame": float(branches.mean()),
        "frames": len(rows),
    }


def _answer(runtime: Runtime, frame: Any, budget_ms: float, hidden: bool) -> Any:
    if not hidden:
        return runtime.infer(frame, Budget.within(budget_ms))
    budget = Budget.unknown()
    timer = threading.Timer(budget_ms / 1e3, budget.cut)
    timer.start()
    try:
        return runtime.infer(frame, budget)
    finally:
        timer.cancel()
        timer.join()


def _reflected(share: float) -> float:
    return abs(math.fmod(share, 2.0)) if abs(math.fmod(share, 2.0)) <= 1.0 else 2.0 - abs(math.fmod(share, 2.0))


def _spin(busy: Event, over: Event) -> None:
    """Compute while `busy` is set, until it is `over`."""
    values = np.random.default_rng(0).random((256, 256))
    while not over.is_set():
        if busy.wait(0.1):
            values = np.tanh(values @ values)


if __name__ == "__main__":
    one_line(main)
