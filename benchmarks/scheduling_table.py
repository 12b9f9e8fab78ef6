"""The tables of `python -m benchmarks.scheduling`: who does how well in which scenario, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.paper.tables import rows_of
from jetson.errors import BadInput
from jetson.files import storage
from jetson.scheduling.guarantee import upper_bound

DRAWS = 2000
"""Of the bootstrap over seeds."""
LEVEL = 0.95
DRIFTING = ("ramp", "thermal", "contention", "spikes", "idle", "adversarial")
MAIN = ("planner", "replan", "alert", "deepest-p95", "threshold", "oracle-latency", "oracle-full")


@dataclass(frozen=True)
class Run:
    """One scenario with one seed."""

    scenario: str
    seed: int
    figures: list[list[float | None]]
    """By policy and figure, in the file's order."""


@dataclass(frozen=True)
class Recorded:
    """The whole file."""

    settings: dict[str, Any]
    task: str
    data: str
    test_frames: int
    exits: list[dict[str, Any]]
    threads: int
    rounds: int
    policies: list[str]
    figures: list[str]
    runs: list[Run]

    @property
    def scenarios(self) -> list[str]:
        """In the order they were run."""
        return list(dict.fromkeys(r.scenario for r in self.runs))

    def of(self, scenario: str, policy: str, key: str) -> npt.NDArray[np.float64]:
        """(seeds,): a figure; NaN where there is none."""
        row, column = self.policies.index(policy), self.figures.index(key)
        found = [r.figures[row][column] for r in self.runs if r.scenario == scenario]
        return np.array([np.nan if v is None else v for v in found])


def read(file: Path) -> Recorded:
    """Read the results.

    Raises:
        BadInput: they are not there, or it is another file.
        StorageError: it cannot be read.
    """
    with storage(file, "read"):
        if not file.exists():
            raise BadInput(f"{file} is not there; make it with: {command(file.stem, {})}")
        content = file.read_bytes()
    try:
        found = msgspec.json.decode(content, type=Recorded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: not the results of benchmarks.scheduling ({error})") from None
    if not found.runs:
        raise BadInput(f"{file}: holds no runs")
    return found


def command(name: str, settings: dict[str, Any]) -> str:
    """The command that makes the results."""
    words = ["python -m benchmarks.scheduling BUNDLE --profile PROFILE"]
    for key, value in settings.items():
        values = value if isinstance(value, list) else [value]
        words.append(f"--{key.replace('_', '-')} {' '.join(map(str, values))}")
    return " ".join([*words, f"--work WORK --out benchmarks/results/{name}.json"])


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap interval of a mean over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def accuracy(recorded: Recorded) -> str:
    """acc@D of the main policies, by scenario."""
    rows = [[s, *(f"{100 * np.mean(recorded.of(s, p, 'acc_at_d')):.1f}" for p in MAIN)] for s in recorded.scenarios]
    caption = f"acc@D in %: answered within the budget, and rightly. {_setting(recorded)}"
    return f"{caption}\n\n{rows_of(['scenario', *(f'`{p}`' for p in MAIN)], rows)}"


def against(recorded: Recorded) -> str:
    """The planner against replan, paired, and against the oracle that knows latencies."""
    rows = []
    for s in recorded.scenarios:
        gain = 100 * (recorded.of(s, "planner", "acc_at_d") - recorded.of(s, "replan", "acc_at_d"))
        share = recorded.of(s, "planner", "acc_at_d") / recorded.of(s, "oracle-latency", "acc_at_d")
        rows.append(
            [
                s,
                f"{gain.mean():+.2f} [{interval(gain)[0]:+.2f}, {interval(gain)[1]:+.2f}]",
                *(f"{100 * np.mean(recorded.of(s, p, 'miss_rate')):.2f}" for p in ("planner", "replan")),
                _less(recorded, s, "planner"),
                f"{100 * share.mean():.1f}",
                f"{np.mean(recorded.of(s, 'planner', 'branches_per_frame')):.2f}",
                f"{np.mean(recorded.of(s, 'planner', 'model_gap')):+.3f}",
                f"{100 * np.mean(recorded.of(s, 'planner', 'infeasible_share')):.1f}",
            ]
        )
    header = [
        "scenario",
        "acc@D, points over `replan`",
        "missed %, `planner`",
        "`replan`",
        "compute against `replan`, %",
        "acc@D, % of `oracle-latency`",
        "branches a frame",
        "model gap",
        "cannot be met %",
    ]
    caption = (
        f"Paired on the same frames and draws, in brackets the {100 * LEVEL:.0f} % bootstrap interval over seeds. "
        "Missed: no answer in time, of the budgets that the quickest exit could meet with these very draws. Model gap: "
        "the value that the table predicted less the value that came, in right answers. "
    )
    return f"{caption}{_setting(recorded)}\n\n{rows_of(header, rows)}"


def promises(recorded: Recorded) -> str:
    """Whether the promised miss rate was kept."""
    promised = recorded.settings["miss_rate"]
    rows = []
    for s in recorded.scenarios:
        missed = recorded.of(s, "planner-promise", "miss_rate")
        frames = recorded.settings["frames"] * (1 - recorded.of(s, "planner-promise", "infeasible_share"))
        bound = upper_bound(round(float((missed * frames).sum())), round(float(frames.sum())))
        rows.append(
            [
                s,
                f"{100 * missed.mean():.2f}",
                f"{100 * missed.max():.2f}",
                f"{100 * bound:.2f}",
                f"{100 * np.mean(recorded.of(s, 'planner-promise', 'acc_at_d')):.1f}",
                f"{100 * np.mean(recorded.of(s, 'planner', 'acc_at_d')):.1f}",
            ]
        )
    header = [
        "scenario",
        "missed %",
        "worst seed %",
        "upper bound %",
        "acc@D with the promise",
        "without",
    ]
    caption = (
        f"The planner that promises a miss rate of {100 * promised:g} %; the upper bound is Clopper and Pearson's, at "
        "95 % over all seeds. "
    )
    return f"{caption}{_setting(recorded)}\n\n{rows_of(header, rows)}"


def prices(recorded: Recorded) -> str:
    """What paying for time costs in right answers and saves in computing, against replan."""
    named = {recorded.settings["price"]: "planner-thrifty"}
    named |= {p: f"planner-price-{p:g}" for p in recorded.settings["other_prices"]}
    rows = []
    for s in recorded.scenarios:
        cells = [s]
        for _, policy in sorted(named.items()):
            gain = 100 * (recorded.of(s, policy, "acc_at_d") - recorded.of(s, "replan", "acc_at_d"))
            low, high = interval(gain)
            cells += [f"{gain.mean():+.2f} [{low:+.2f}, {high:+.2f}]", _less(recorded, s, policy)]
        rows.append(cells)
    header = ["scenario", *(h for p in sorted(named) for h in (f"price {p:g}: points over `replan`", "compute, %"))]
    caption = (
        "The planner that pays so much of a right answer for the time to the deepest exit, paired with `replan` on the "
        "same frames: acc@D, and computing against replan's. "
    )
    return f"{caption}{_setting(recorded)}\n\n{rows_of(header, rows)}"


def everybody(recorded: Recorded) -> str:
    """Every policy, over all scenarios."""
    rows = []
    for p in recorded.policies:
        cells = [f"`{p}`"]
        for key, scale, form in (
            ("acc_at_d", 100, ".1f"),
            ("miss_rate", 100, ".2f"),
            ("compute_ms", 1, ".3f"),
            ("branches_per_frame", 1, ".2f"),
            ("decision_us", 1, ".1f"),
        ):
            values = np.array(
                [
                    np.nanmean(recorded.of(s, p, key)) if _there(recorded, s, p, key) else np.nan
                    for s in recorded.scenarios
                ]
            )
            cells.append("" if np.isnan(values).all() else f"{scale * np.nanmean(values):{form}}")
        for oracle in ("oracle-latency", "oracle-full"):
            regret = np.mean(
                [recorded.of(s, oracle, "acc_at_d") - recorded.of(s, p, "acc_at_d") for s in recorded.scenarios]
            )
            cells.append(f"{100 * regret:.1f}")
        rows.append(cells)
    header = [
        "policy",
        "acc@D %",
        "missed %",
        "compute ms",
        "branches",
        "us a decision",
        "regret, latency",
        "regret, all",
    ]
    caption = f"Means over the {len(recorded.scenarios)} scenarios. Regret: points of acc@D behind an oracle. "
    return f"{caption}{_setting(recorded)}\n\n{rows_of(header, rows)}"


TABLES = {"accuracy": accuracy, "against": against, "promises": promises, "prices": prices, "policies": everybody}


def _there(recorded: Recorded, scenario: str, policy: str, key: str) -> bool:
    return not bool(np.isnan(recorded.of(scenario, policy, key)).all())


def _less(recorded: Recorded, scenario: str, policy: str) -> str:
    ratio = recorded.of(scenario, policy, "compute_ms") / recorded.of(scenario, "replan", "compute_ms") - 1
    return f"{100 * ratio.mean():+.0f}"


def _setting(recorded: Recorded) -> str:
    frames, seeds = recorded.settings["frames"], recorded.settings["seeds"]
    exits = ", ".join(f"`{e['name']}` {100 * e['quality']:.1f} % {e['p50_ms']:.2f} ms" for e in recorded.exits)
    return (
        f"Simulated, {frames:,} frames a scenario and seed, {seeds} seeds; answers of {recorded.test_frames:,} test "
        f"frames of {recorded.data}; exits {exits}; latencies from a profile of {recorded.rounds:,} rounds, ONNX "
        f"Runtime, {recorded.threads} thread."
    )
