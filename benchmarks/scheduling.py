"""`python -m benchmarks.scheduling BUNDLE --profile P --out FILE`: every policy in every scenario, in simulation.

The bundle's own answers on its test frames, the latencies of its profile, several seeds. Every policy meets the same
frames with the same draws. The planner takes part as it ships, with a promised miss rate, and paying several prices for
time; the planners that always or never look at answers stand beside them.

A run that was stopped goes on: each scenario and seed is a file in --work.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from jetson.bundle import Bundle
from jetson.errors import BadInput
from jetson.files import write_file
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.induction import Prices
from toolkit.simulate import scenarios
from toolkit.simulate.compiled import best_loop
from toolkit.simulate.contest import run_contest
from toolkit.simulate.contestants import Rewards

KEPT = ("acc_at_d", "miss_rate", "infeasible_share", "compute_ms", "branches_per_frame", "decision_us", "model_gap")
"""Figures of a policy that are recorded, in this order; regret is a difference of these."""
PROMISE, THRIFTY, PRICED = "planner-promise", "planner-thrifty", "planner-price-"
DIGITS = 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--profile", type=Path, required=True, help="of the bundle, measured with nothing else running")
    parser.add_argument("--scenarios", nargs="+", default=list(scenarios.NAMES))
    parser.add_argument("--frames", type=int, default=20_000, help="per scenario and seed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--miss-rate", type=float, default=0.01, help=f"that {PROMISE} promises")
    parser.add_argument(
        "--price",
        type=float,
        default=0.1,
        help=f"{THRIFTY}: value of the time to the deepest answer, in right answers",
    )
    parser.add_argument("--other-prices", type=float, nargs="*", default=[0.05, 0.2], help=f"the same, of {PRICED}P")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is done so far")
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args()
    bundle, profile = Bundle.open(options.bundle), LatencyProfile.load(options.profile)
    samples = samples_of(bundle, profile)
    simulate = best_loop(print)
    settings = {"frames": options.frames, "seeds": options.seeds, "miss_rate": options.miss_rate}
    settings |= {"price": options.price, "other_prices": options.other_prices}
    key = f"{zlib.crc32(json.dumps([settings, bundle.manifest.build, profile.created]).encode()):08x}"
    options.work.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    policies: list[str] = []
    for name in options.scenarios:
        for seed in range(options.seeds):
            file = options.work / f"{key}-{name}-{seed}.json"
            if not file.exists():
                found = one_run(simulate, bundle, profile, samples, name, seed, options)
                write_file(file, json.dumps(found))
            best = json.loads(file.read_text(encoding="utf-8"))
            policies = list(best)
            runs.append({"scenario": name, "seed": seed, "figures": [list(best[p].values()) for p in policies]})
            print(
                f"{name}, seed {seed}: " + ", ".join(f"{p} {_short(best[p])}" for p in ("planner", "replan")),
                flush=True,
            )
    results = {
        "settings": settings,
        "task": bundle.manifest.task,
        "data": bundle.manifest.provenance.data.name if bundle.manifest.provenance.data else "",
        "test_frames": len(samples["test"]),
        "exits": [
            {"name": e.name, "quality": e.quality[-1].value, "p50_ms": m.end_to_end_ms.median}
            for e, m in zip(bundle.manifest.exits, profile.exits, strict=True)
        ],
        "threads": profile.engine.threads,
        "rounds": min(u.end_to_end_ms.n for u in profile.units.values()),
        "policies": policies,
        "figures": KEPT,
        "runs": runs,
    }
    write_file(options.out, json.dumps(results, separators=(",", ":")).replace('{"scenario"', '\n{"scenario"') + "\n")
    print(f"-> {options.out}")


def samples_of(bundle: Bundle, profile: LatencyProfile) -> dict[str, Samples]:
    """The bundle's recorded answers by role.

    Raises:
        BadInput: it records none, or the profile is another bundle's.
    """
    if not speaks_of(profile, bundle.manifest):
        raise BadInput(f"the profile was measured on another bundle than {bundle.path}")
    found = {role: s for role in ("fit", "select", "test") if (s := bundle.samples(role)) is not None}
    if len(found) < 3:
        raise BadInput(
            f"{bundle.path} records no answers; build it again, or: offramp calibrate {bundle.path} --data DATA"
        )
    return found


def one_run(
    simulate: Any,
    bundle: Bundle,
    profile: LatencyProfile,
    samples: Mapping[str, Samples],
    scenario: str,
    seed: int,
    options: argparse.Namespace,
) -> dict[str, dict[str, float | None]]:
    """All policies through one scenario with one seed: figures by policy."""
    manifest = bundle.manifest
    # Each scenario has budgets and draws of its own.
    number = seed * 1000 + list(scenarios.NAMES).index(scenario)
    course = scenarios.make(scenario, profile, options.frames, np.random.default_rng(number))
    deepest_ms = max(e.end_to_end_ms.median for e in profile.exits)
    priced = [(THRIFTY, options.price), *((f"{PRICED}{p:g}", p) for p in options.other_prices)]
    plans: list[tuple[str, Sequence[str], Rewards]] = [
        ("", policies_of(bundle), Rewards()),
        (PROMISE, ["planner"], Rewards(miss_rate=options.miss_rate)),
        *((name, ["planner"], Rewards(prices=Prices(per_ms=price / deepest_ms))) for name, price in priced),
    ]
    found: dict[str, dict[str, float | None]] = {}
    for name, policies, rewards in plans:
        tallies = run_contest(simulate, policies, manifest, profile, samples, course, rewards, seed=number)
        oracles = tallies["oracle-latency"], tallies["oracle-full"]
        for policy, tally in tallies.items():
            if not name or policy == "planner":
                figures = tally.figures(policy, *oracles)
                found[name or policy] = {k: _rounded(figures[k]) for k in KEPT}
    return found


def policies_of(bundle: Bundle) -> list[str]:
    """Everybody who takes part, but for the oracles, who always do."""
    exits = bundle.manifest.exits
    best = max(range(len(exits)), key=lambda k: exits[k].quality[0].value)
    names = ["planner", "planner-plain", "planner-confident", "replan", "alert"]
    names += ["deepest-mean", "deepest-p95", "deepest-p99", "threshold", "static-1", f"static-{best + 1}"]
    return list(dict.fromkeys([*names, f"static-{len(exits)}"]))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _short(figures: Mapping[str, Any]) -> str:
    return f"{100 * figures['acc_at_d']:.2f} % (missed {100 * (figures['miss_rate'] or 0):.2f} %)"


if __name__ == "__main__":
    one_line(main)
