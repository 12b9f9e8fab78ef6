"""`offramp simulate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from jetson.bundle import Bundle
from jetson.errors import BadInput, BundleError, ProfileError
from jetson.files import check_writable
from jetson.manifest import Manifest
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling.induction import Late, Prices
from jetson.scheduling.trace import FrameBudget, load_trace, save_trace
from toolkit.cli.console import out, print_json, print_table, progress_share, say
from toolkit.cli.options import BUNDLE, JSON, PRICE_PER_MJ

if TYPE_CHECKING:
    from toolkit.simulate.scenarios import Scenario

FRAMES = 20_000
MOST_FRAMES = 10_000_000
LATE = "What happens to an answer that is not finished in time: it is lost, or the one before it counts."


@click.command("simulate")
@BUNDLE
@click.option(
    "--profile", "profile_file", required=True, type=click.Path(path_type=Path), help="Of BUNDLE, any device."
)
@click.option("--trace", "trace_file", type=click.Path(path_type=Path), help="CSV file of budgets, as for run.")
@click.option("--scenario", help="Made-up budgets and a made-up device; a wrong name lists them.")
@click.option(
    "--policy", "policies", help="Names with commas; a wrong one lists them [default: those worth comparing]."
)
@click.option("--frames", type=click.IntRange(1, MOST_FRAMES), help=f"[default: the trace's lines, or {FRAMES}]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 1 << 32), help="Of all that is drawn.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1000), help="So many seeds, from it on.")
@click.option("--miss-rate", type=click.FloatRange(0, 1, True, True), help="What the planner is to promise.")
@click.option("--price-per-ms", default=0.0, show_default=True, type=click.FloatRange(0), help="Of computing.")
@PRICE_PER_MJ
@click.option("--late", default="lost", show_default=True, type=click.Choice(["lost", "best-so-far"]), help=LATE)
@click.option("--hidden", is_flag=True, help="Nobody tells the budgets; the answer in hand counts when one is over.")
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["test", "select"]), help="Whose answers to replay."
)
@click.option("--save-trace", type=click.Path(path_type=Path), help="Write the budgets to this CSV file.")
@JSON
def command(
    bundle: Path,
    profile_file: Path,
    trace_file: Path | None,
    scenario: str | None,
    policies: str | None,
    frames: int | None,
    seed: int,
    seeds: int,
    miss_rate: float | None,
    price_per_ms: float,
    price_per_mj: float,
    late: Late,
    hidden: bool,
    split: str,
    save_trace: Path | None,
    as_json: bool,
) -> None:
    """Replay budgets and BUNDLE's recorded answers against its measured latencies, with every policy alike.

    Nothing of BUNDLE runs, so the profile may come from any device. The policies are the very code that a device
    decides by; latencies are drawn from the profile, the same for all of them.
    """
    from toolkit.simulate.compiled import best_loop
    from toolkit.simulate.contest import run_contest
    from toolkit.simulate.contestants import ORACLES, PLANNERS, Rewards, check_names, contestant, usual
    from toolkit.simulate.result import over_seeds

    opened, profile = _open(bundle, profile_file)
    manifest = opened.manifest
    samples = _samples(opened, split)
    names = tuple(dict.fromkeys(n.strip() for n in policies.split(","))) if policies is not None else usual(manifest)
    check_names(names, manifest)
    course = _course(scenario, trace_file, profile, frames, hidden)
    if save_trace is not None:
        check_writable(save_trace)
    rewards = Rewards(Prices.of(profile, price_per_ms, price_per_mj), late, miss_rate)
    if miss_rate is not None and (planners := PLANNERS.keys() & names):
        contestant(min(planners), manifest, profile, samples, rewards)  # refuses what cannot be promised
    simulate = best_loop(say)
    runs: list[dict[str, dict[str, Any]]] = []
    with progress_share(f"simulating {len(names)} policies") as progress:
        for number in range(seeds):
            now = course(seed + number)
            if number == 0 and save_trace is not None:
                _save(save_trace, now)

            def share(done: float, number: int = number) -> None:
                progress((number + done) / seeds)

            tallies = run_contest(
                simulate, names, manifest, profile, samples, now, rewards, split, seed + number, share
            )
            oracles = [tallies[o] for o in ORACLES]
            runs.append({n: tallies[n].figures(n, *oracles) for n in names})
    found = [over_seeds([run[n] for run in runs]) for n in names]
    if as_json:
        print_json(found)
    else:
        _show(found, manifest, scenario or str(trace_file), seeds)


def _open(path: Path, profile_file: Path) -> tuple[Bundle, LatencyProfile]:
    opened, profile = Bundle.open(path, verify=False), LatencyProfile.load(profile_file)
    manifest = opened.manifest
    units, exits = {u.name for u in manifest.units}, [e.name for e in manifest.exits]
    if not speaks_of(profile, manifest) or set(profile.units) != units or [e.name for e in profile.exits] != exits:
        raise ProfileError(
            f"{profile_file} was measured on another bundle than {path}; make one for this on the device with: "
            "offramp profile"
        )
    return opened, profile


def _samples(bundle: Bundle, split: str) -> dict[str, Samples]:
    found = {role: bundle.samples(role) for role in ("fit", "select", "test")}
    if found[split] is None:
        raise BundleError(
            f"{bundle.path} does not record what its exits answer on the {split} images; build it again, "
            "or: offramp calibrate"
        )
    return {role: samples for role, samples in found.items() if samples is not None}


def _course(
    name: str | None, trace_file: Path | None, profile: LatencyProfile, frames: int | None, hidden: bool
) -> Callable[[int], Scenario]:
    """What makes the scenario of a seed; refuses a wrong name or trace at once."""
    from toolkit.simulate.scenarios import check_name, from_trace, hide, make

    if (name is None) == (trace_file is None):
        raise BadInput("give either --scenario or --trace")
    trace: list[FrameBudget] = []
    if name is not None:
        check_name(name)
    elif trace_file is not None:
        trace = load_trace(trace_file)

    def course(seed: int) -> Scenario:
        made = from_trace(trace, frames) if name is None else _made(seed)
        return hide(made) if hidden else made

    def _made(seed: int) -> Scenario:
        assert name is not None
        return make(name, profile, frames or FRAMES, np.random.default_rng([seed, 0]))

    return course


def _save(path: Path, scenario: Scenario) -> None:
    save_trace(path, scenario.trace())


def _show(found: Sequence[dict[str, Any]], manifest: Manifest, title: str, seeds: int) -> None:
    """A row per policy on stdout, and what the columns mean."""
    classify = manifest.task == "classification"
    frames = found[0]["frames"]
    over = f", {seeds} seeds" if seeds > 1 else ""
    first = ["acc@D %"] if classify else ["mean abs error", "value"]
    unit = "points" if classify else "value"
    print_table(
        f"{title}: {frames:,} frames{over}",
        [
            *("policy", *first, "missed %", "cannot be met %"),
            *(f"regret, latency known ({unit})", f"regret, all known ({unit})"),
            *("compute ms", "branches", "us a decision", "model gap"),
        ],
        [
            [
                row["policy"],
                *(
                    [_amount(row, "acc_at_d", 100)]
                    if classify
                    else [_amount(row, "mean_abs_error"), _amount(row, "value")]
                ),
                _amount(row, "miss_rate", 100),
                _amount(row, "infeasible_share", 100),
                _amount(row, "regret_latency_oracle", 100 if classify else 1),
                _amount(row, "regret_full_oracle", 100 if classify else 1),
                _amount(row, "compute_ms"),
                _amount(row, "branches_per_frame"),
                _amount(row, "decision_us"),
                _amount(row, "model_gap"),
            ]
            for row in found
        ],
    )
    counts = "answered rightly within the budget" if classify else "off on average, of the answers in time"
    out.print(
        f"{first[0]}: {counts}. Missed: no answer in time, of the budgets that the quickest exit could meet; the "
        "others are counted beside it. Regret: what an oracle gets on the same frames and the policy does not; one "
        "knows what every unit will take, the other also which answers are right. Compute and branches are per frame. "
        "Model gap: value that the planner expected, less what it got.",
        markup=False,
    )
    if seeds > 1:
        out.print(f"Means of {seeds} seeds, +- half the distance from the least to the most.", markup=False)


def _amount(row: dict[str, Any], key: str, times: float = 1.0) -> str:
    value = row[key]
    if value is None:
        return ""
    digits = 2 if times > 1 or key == "decision_us" else 3
    low, high = row.get("spread", {}).get(key, (value, value))
    spread = f" +-{times * (high - low) / 2:.{digits}f}" if "spread" in row else ""
    return f"{times * value:.{digits}f}{spread}"
