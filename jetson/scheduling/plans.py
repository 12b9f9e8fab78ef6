"""What the planner decides by: tables for every kind of budget, with or without a look at answers, whichever wins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.samples import Samples
from jetson.scheduling import learning
from jetson.scheduling.chosen import Chosen, HeldOutReplay
from jetson.scheduling.costs import Costs, stalling
from jetson.scheduling.guarantee import careful_factor
from jetson.scheduling.heldout import Revised, budgets_over, draw_latencies, draw_revisions, walk
from jetson.scheduling.induction import Late, Prices, Revisions, Table, solve
from jetson.scheduling.memory import AFTER_KINDS, CUT_BINS, CUTS, FRAMES, LEFT, RATIO_BINS, RATIOS, blank
from jetson.scheduling.outlook import Outlook, learn_outlook, plain_outlook
from jetson.scheduling.paths import Paths
from jetson.scheduling.slowdown import usual_stalls

REPLAYED = 8000
"""Frames of the held-out replay."""
SEED = 7
STALLS = (0.1, 0.3, 0.8, 2.0)
"""Stalls on the way through all units that tables are solved for, once the device is seen to stall,"""
FEW_STALLS = 0.04
"""more often than this."""
HIDDEN_POINTS = 256
"""Of the grid for unknown budgets: of these only a distribution is known, so that no state is exact to a thousandth."""
LEAST_AFTER = 3.0
"""Frames that must have come after one kind of frame, before they count for what comes next."""


@dataclass(frozen=True)
class Plan:
    """What the planner decides by, for one bundle on one device."""

    known: Table
    """For budgets that are told."""
    settled: Table
    """For budgets that are told and have been revised once: what `known` is when none ever is."""
    hidden: Table
    """For budgets that are not."""
    known_replay: HeldOutReplay | None
    hidden_replay: HeldOutReplay | None
    """None without recorded answers."""
    tau: float
    """Time is taken for so many times shorter, for the promised miss rate."""
    stalled: tuple[Table, ...] = ()
    """For known budgets on a device that also stalls, `STALLS` times on the way through all units."""
    after: tuple[Table, ...] = ()
    """For budgets that are not told, by what came before, `learning.kind_before`; empty before that says anything."""


class Solver:
    """Makes plans for one bundle on one device."""

    def __init__(
        self,
        manifest: Manifest,
        profile: LatencyProfile,
        samples: Mapping[str, Samples],
        prices: Prices,
        late: Late,
        confidence: bool | None,
        level: float,
    ) -> None:
        """Prepare; the arguments are those of `Planner`."""
        self.manifest, self.profile, self.prices, self.late = manifest, profile, prices, late
        self.paths = Paths.of(manifest)
        self.names = [u.name for u in manifest.units]
        self.costs = Costs.of(self.paths, profile, self.names)
        self.hidden_costs = Costs.of(self.paths, profile, self.names, HIDDEN_POINTS)
        self.quickest_ms = min(float(e.end_to_end_ms.quantile(level)) for e in profile.exits)
        self.total_ms = sum(profile.units[n].end_to_end_ms.median for n in self.names)
        self.usual_stalls = usual_stalls([profile.units[n].end_to_end_ms for n in self.names])
        self._confidence = confidence
        self._samples = samples
        self._plain = plain_outlook(manifest)

    @cached_property
    def _learnt(self) -> Outlook | None:
        fit = self._samples.get("fit")
        return learn_outlook(self.manifest, fit) if fit is not None and self._confidence is not False else None

    @cached_property
    def _latencies(self) -> npt.NDArray[np.float64]:
        """What units take on the frames of the held-out replay."""
        return draw_latencies(self.profile, self.names, REPLAYED, SEED)

    def plan(self, miss_rate: float | None, chosen: Chosen | None = None) -> Plan:
        """Before the first frame.

        Args:
            miss_rate: to promise; None for no promise.
            chosen: what an earlier plan from the very same found.

        Raises:
            BudgetError: it cannot be promised.
        """
        if chosen is not None:
            known = self._table(self._winner(chosen.known))
            hidden = self._untold(self._winner(chosen.hidden), blank())
            return Plan(known, known, hidden, chosen.known, chosen.hidden, chosen.tau)
        known, known_replay = self._known(None)
        hidden, hidden_replay = self._hidden(blank())
        tau = 1.0
        if miss_rate is not None:
            judged = self._samples.get("select") or self._samples.get("fit") or _silent(self.manifest)
            tau = careful_factor(known, self.paths, self.manifest, self.profile, judged, miss_rate)
        return Plan(known, known, hidden, known_replay, hidden_replay, tau)

    def anew(self, before: Plan, memory: npt.NDArray[np.float64]) -> Plan:
        """With what frames have shown of budgets and of the device."""
        revisions = learning.revisions(memory)
        known, known_replay = self._known(revisions)
        hidden, hidden_replay = self._hidden(memory)
        per_ms, stall_ms = learning.stalls(memory, self.usual_stalls)
        stalled = before.stalled
        if per_ms * self.total_ms > FEW_STALLS:
            costs = [stalling(self.costs, n / self.total_ms, stall_ms) for n in STALLS]
            stalled = tuple(self._table(known.outlook, revisions, c) for c in costs)
        elif stalled and stalled[0].outlook is not known.outlook:
            stalled = ()
        return replace(
            before,
            known=known,
            settled=known if revisions is None else self._table(known.outlook),
            hidden=hidden,
            known_replay=known_replay,
            hidden_replay=hidden_replay,
            stalled=stalled,
            after=self._after(hidden, memory),
        )

    def depends_on(self, memory: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What a plan depends on, as one vector: how budgets are revised, when unknown ones end, how the device stalls.

        Distances between such vectors are those of distributions.
        """
        found = learning.revisions(memory)
        often = 0.0 if found is None else 1.0 - 0.5**found.rate
        ratios = memory[RATIOS : RATIOS + RATIO_BINS] / max(memory[FRAMES], 1.0) * (found is not None)
        cuts = memory[CUTS : LEFT + CUT_BINS]
        heard = cuts.sum()
        share = cuts / heard * min(heard / learning.PRIOR_FRAMES, 1.0) if heard > 0.0 else cuts
        after = np.concatenate([learning.ends_after(memory, k) for k in range(AFTER_KINDS)])
        after = after / max(after.sum(), learning.PRIOR_AFTER * AFTER_KINDS)
        per_ms, stall_ms = learning.stalls(memory, self.usual_stalls)
        # Twice or half a stall's length counts as much as a tenth of anything else.
        length = 0.25 * math.log2(1.0 + stall_ms / self.total_ms * 64) if per_ms * self.total_ms > FEW_STALLS else 0.0
        together: npt.NDArray[np.float64] = np.concatenate([[often, length], ratios, share, after])
        return together

    def _winner(self, replay: HeldOutReplay) -> Outlook:
        looks = replay.won if self._confidence is None else self._confidence
        return self._learnt if looks and self._learnt is not None else self._plain

    def _outlooks(self) -> list[Outlook]:
        return [o for o in (self._plain, self._learnt) if o is not None]

    def _table(self, outlook: Outlook, revisions: Revisions | None = None, costs: Costs | None = None) -> Table:
        settled = solve(self.paths, outlook, costs or self.costs, self.prices, self.late)
        if revisions is None:
            return settled
        return solve(self.paths, outlook, costs or self.costs, self.prices, self.late, None, revisions, settled)

    def _known(self, revisions: Revisions | None) -> tuple[Table, HeldOutReplay | None]:
        return self._choose([self._table(o, revisions) for o in self._outlooks()], False, revisions)

    def _hidden(self, memory: npt.NDArray[np.float64]) -> tuple[Table, HeldOutReplay | None]:
        made = [self._untold(o, memory) for o in self._outlooks()]
        return self._choose(made, True, None)

    def _untold(self, outlook: Outlook, memory: npt.NDArray[np.float64], kind: int = -1) -> Table:
        quickest_ms = max(self.quickest_ms - self.profile.preprocess_ms.median, 1e-6)
        alive = learning.survival(memory, quickest_ms, self.hidden_costs.step_ms, self.hidden_costs.points, kind)
        return solve(self.paths, outlook, self.hidden_costs, self.prices, "best-so-far", alive)

    def _after(self, hidden: Table, memory: npt.NDArray[np.float64]) -> tuple[Table, ...]:
        """By what came before: where that says little, the table for any."""
        told = [learning.ends_after(memory, k).sum() >= LEAST_AFTER for k in range(AFTER_KINDS)]
        if not any(told):
            return ()
        return tuple(self._untold(hidden.outlook, memory, k) if told[k] else hidden for k in range(AFTER_KINDS))

    def _choose(
        self, tables: Sequence[Table], hidden: bool, revisions: Revisions | None
    ) -> tuple[Table, HeldOutReplay | None]:
        """The table that wins on held-out frames; of one, that one."""
        select = self._samples.get("select")
        if len(tables) == 1 or select is None:
            return tables[-1 if self._confidence else 0], None
        rng = np.random.default_rng(SEED)
        latencies = self._latencies
        budgets = budgets_over(self.profile, rng.random(REPLAYED))
        frames = rng.permutation(np.arange(REPLAYED) % len(select))
        moments = draw_revisions(revisions, budgets, rng) if revisions is not None else None
        went = []
        for table in tables:
            revised = Revised(self._table(table.outlook), *moments) if moments is not None else None
            went.append(
                walk(table, self.paths, self.manifest, select, frames, latencies, budgets, 1.0, hidden, revised)
            )
        plain, confident = went
        gain = confident.value(tables[1]) - plain.value(tables[0])
        replay = HeldOutReplay(
            confident=float(confident.value(tables[1]).mean()),
            plain=float(plain.value(tables[0]).mean()),
            error=float(gain.std() / math.sqrt(min(REPLAYED, len(select)))),
            sooner=bool(confident.compute_ms.mean() < plain.compute_ms.mean()),
            n=REPLAYED,
        )
        return tables[replay.won if self._confidence is None else self._confidence], replay


def _silent(manifest: Manifest) -> Samples:
    """One frame on which every exit says the same: for a bundle without recorded answers."""
    exits = len(manifest.exits)
    if manifest.task == "regression":
        return Samples(
            target=np.zeros((1, manifest.outputs), np.float32),
            output=np.zeros((1, exits, manifest.outputs), np.float32),
        )
    return Samples(
        target=np.zeros(1, np.int64), class_index=np.zeros((1, exits), np.int32), score=np.zeros((1, exits), np.float32)
    )
