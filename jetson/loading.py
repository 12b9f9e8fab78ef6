"""What `Runtime.load` makes a policy of, the first time and again when the power mode changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jetson.beside import beside
from jetson.bundle import Bundle
from jetson.manifest import Manifest
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.baselines import check_options, make
from jetson.scheduling.induction import Late, Prices, check_prices
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import Policy

MakePolicy = Callable[[Manifest, LatencyProfile], Policy]


@dataclass(frozen=True)
class Wishes:
    """What the user asked of whoever decides."""

    policy: str | MakePolicy = "planner"
    miss_rate: float | None = None
    price_per_ms: float = 0.0
    price_per_mj: float = 0.0
    late: Late = "lost"
    budgets_ms: tuple[float, ...] = ()
    level: float = 0.95

    def check(self, bundle: Bundle, profile: LatencyProfile | None) -> None:
        """Refuse what cannot be had, before anything is loaded.

        Raises:
            BadInput, BudgetError: what is wrong.
        """
        check_prices(self.price_per_ms, self.price_per_mj)
        asks = self.miss_rate is not None or self._prices(profile).per_ms > 0.0 or len(self.budgets_ms) > 0
        check_options(self.policy, bundle.manifest, self.level, self.late, self.miss_rate, asks)

    def begin(self, bundle: Bundle, profile: LatencyProfile) -> Callable[[bool], Policy]:
        """Begin to make the policy, in a thread where that takes time.

        Args:
            bundle: opened.
            profile: of the power mode that holds.

        Returns:
            What gives the policy, told whether paths are enqueued ahead.
        """
        if callable(self.policy):
            made: Any = partial(self.policy, bundle.manifest, profile)
            return lambda _ahead: made()
        if self.policy != "planner":
            return partial(make, self.policy, bundle.manifest, profile, self.level)
        promise: dict[str, Any] = {
            "miss_rate": self.miss_rate,
            "prices": self._prices(profile),
            "late": self.late,
            "level": self.level,
        }
        solved = beside(partial(Planner.of, bundle, profile, budgets_ms=self.budgets_ms, **promise))
        return lambda _ahead: solved()

    def _prices(self, profile: LatencyProfile | None) -> Prices:
        return Prices() if profile is None else Prices.of(profile, self.price_per_ms, self.price_per_mj)
