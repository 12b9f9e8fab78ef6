"""Scheduling policies beside one another: simulated on the answers that the bundle records and the run's profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.report.gather import Run
from toolkit.simulate.contest import Simulate, run_contest
from toolkit.simulate.contestants import Rewards, usual
from toolkit.simulate.scenarios import NAMES, make

FRAMES, SEED = 4_000, 0
"""Of a scenario, and of all that is drawn."""
ROLE = "test"
"""Whose answers are replayed."""
ORACLE, BEST = "oracle-latency", "oracle-full"
"""What figures are held against: who knows every latency, and who knows too which answers are right."""
BASELINE = "replan"


@dataclass(frozen=True)
class Comparison:
    """What `offramp simulate` says of every policy, by scenario."""

    classify: bool
    frames: int
    """Of each scenario."""
    images: int
    """Whose recorded answers the frames have."""
    figures: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """By scenario and policy."""

    @property
    def scenarios(self) -> tuple[str, ...]:
        """In the order they were simulated."""
        return tuple(self.figures)

    @property
    def policies(self) -> tuple[str, ...]:
        """All that took part, oracles last."""
        return tuple(self.figures[self.scenarios[0]])

    def merit(self, scenario: str, policy: str) -> float:
        """acc@D, in regression the value."""
        return float(self.figures[scenario][policy]["acc_at_d" if self.classify else "value"])

    def gain(self, scenario: str, policy: str) -> float:
        """Merit more than the oracle that knows every latency; mostly negative."""
        return self.merit(scenario, policy) - self.merit(scenario, ORACLE)

    def missed(self, scenario: str, policy: str) -> float | None:
        """Share of the budgets that could be met; None when none could."""
        share: float | None = self.figures[scenario][policy]["miss_rate"]
        return share

    def compute_ms(self, scenario: str, policy: str) -> float:
        """Time in units, a frame."""
        return float(self.figures[scenario][policy]["compute_ms"])

    def effort(self, scenario: str, policy: str) -> float | None:
        """Computing, over that of replan; None where units take no time."""
        ours, others = self.compute_ms(scenario, policy), self.compute_ms(scenario, BASELINE)
        return ours / others if ours > 0.0 and others > 0.0 else None


def compare(
    run: Run,
    simulate: Simulate,
    done: Callable[[float], None] = lambda _share: None,
    scenarios: Sequence[str] = NAMES,
    frames: int = FRAMES,
) -> Comparison:
    """Simulate the usual policies; the figures are those of `offramp simulate` with as many frames.

    Args:
        run: whose bundle records its answers on test images.
        simulate: `toolkit.simulate.loop.simulate`, as it is or compiled.
        done: is told the share done.
        scenarios: by name.
        frames: of each.
    """
    names = usual(run.manifest)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for place, scenario in enumerate(scenarios):
        course = make(scenario, run.profile, frames, np.random.default_rng([SEED, 0]))

        def share(part: float, place: int = place) -> None:
            done((place + part) / len(scenarios))

        tallies = run_contest(
            simulate, names, run.manifest, run.profile, run.samples, course, Rewards(), ROLE, SEED, share
        )
        oracles = tallies[ORACLE], tallies[BEST]
        found[scenario] = {name: tallies[name].figures(name, *oracles) for name in names}
    return Comparison(run.manifest.task == "classification", frames, len(run.samples[ROLE]), found)
