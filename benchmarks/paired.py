"""Time two ways of doing one thing in turn, and give the ratio pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """Paired ratios of one comparison: medians with the 10 % and 90 % quantiles as spread."""

    name: str
    ratio: float
    low: float
    high: float
    base_ms: float
    pairs: int


def compare(name: str, ours: Callable[[], object], base: Callable[[], object], pairs: int) -> Ratio:
    """Run `base` and `ours` in turn, each pair in an order shuffled anew, after a warm-up of a tenth."""
    rng = np.random.default_rng(0)
    times = np.empty((pairs, 2))
    for index in range(-max(pairs // 10, 3), pairs):
        for which in rng.permutation(2):
            began = perf_counter()
            (base, ours)[which]()
            if index >= 0:
                times[index, which] = perf_counter() - began
    ratios = times[:, 1] / times[:, 0]
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
    return Ratio(name, float(middle), float(low), float(high), float(np.median(times[:, 0]) * 1e3), pairs)


def table(ratios: Sequence[Ratio]) -> str:
    """The ratios as text."""
    lines = [f"{'comparison':44} {'ratio':>7} {'p10':>7} {'p90':>7} {'base ms':>9} {'pairs':>6}"]
    lines += [f"{r.name:44} {r.ratio:7.3f} {r.low:7.3f} {r.high:7.3f} {r.base_ms:9.3f} {r.pairs:6d}" for r in ratios]
    return "\n".join(lines)
