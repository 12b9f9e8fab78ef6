"""A comparison of policies whose figures are made up, so that nothing need be simulated."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.report.comparison import Comparison
from toolkit.simulate.scenarios import NAMES

POLICIES = ("planner", "replan", "deepest-p95", "alert", "threshold", "static-14", "oracle-latency", "oracle-full")


def made_up(classify: bool = True, scenarios: tuple[str, ...] = NAMES, seed: int = 0) -> Comparison:
    """Figures that lie far apart and close together, on both sides of the oracle's."""
    rng = np.random.default_rng(seed)
    policies = [p for p in POLICIES if classify or p != "threshold"]

    def figures(policy: str) -> dict[str, Any]:
        oracle = policy.startswith("oracle")
        merit = 0.7 + (0.0 if oracle else float(rng.choice([1.0, -1.0]) * 10.0 ** rng.uniform(-3.5, -0.5)))
        return {
            "acc_at_d": merit if classify else None,
            "value": merit - 0.5,
            "miss_rate": 0.0 if oracle else float(10.0 ** rng.uniform(-5, -0.1)),
            "compute_ms": float(rng.uniform(1.0, 30.0)),
        }

    return Comparison(classify, 4000, 500, {s: {p: figures(p) for p in policies} for s in scenarios})
