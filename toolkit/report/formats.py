"""Figures as text. What is absent reads `n/a`, never 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

NA = "n/a"
NOT_MEASURED = "not measured"


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number (a bool is none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def decimals_for(values: Iterable[float | None]) -> int:
    """Decimals for one column: the smallest entry keeps three significant digits, within four decimals."""
    sizes = [abs(v) for v in values if v is not None and is_number(v) and v != 0]
    if not sizes:
        return 1
    return min(4, max(0, 2 - math.floor(math.log10(min(sizes)))))


def fixed(value: Any, decimals: int) -> str:
    """`value` with that many decimals."""
    return f"{value:,.{decimals}f}" if is_number(value) else NA


def significant(value: Any, digits: int = 3) -> str:
    """`value` with that many significant digits and no exponent: 0.0421, 1.84, 23.1, 4,120."""
    if not is_number(value):
        return NA
    if value == 0:
        return "0"
    value = float(f"{value:.{digits}g}")
    return fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def milliseconds(value: Any) -> str:
    """Three significant digits with the unit, and nothing below a tenth of a microsecond."""
    return f"{significant(round(value, 4))} ms" if is_number(value) else NA


def share(value: Any) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * value:.1f}%" if is_number(value) else NA


def quantity(value: Any, unit: str = "") -> str:
    """A count with its SI letter: 812, 192 k, 5.72 M, 35.1 GFLOPs."""
    if not is_number(value):
        return NA
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{significant(value / size)} {letter}{unit}"
    return f"{value:,.0f} {unit}".strip()


def quality(value: Any, metric: str) -> str:
    """An exit's quality: accuracy as a percentage, an error as a number."""
    return share(value) if metric == "accuracy" else significant(value)


def change(before: Any, after: Any, metric: str) -> str:
    """From one quality to another: accuracy in points, an error in percent of what it was."""
    if not (is_number(before) and is_number(after)) or (metric != "accuracy" and before == 0):
        return NA
    amount = 100 * (after - before) / (1 if metric == "accuracy" else before)
    sign = "+" if amount >= 0.05 else "−" if amount <= -0.05 else ""
    return f"{sign}{abs(amount):.1f}{' points' if metric == 'accuracy' else '%'}"


def metric_name(metric: str) -> str:
    """`mean_absolute_error` as words."""
    return metric.replace("_", " ")


def short(text: str, keep: int = 12) -> str:
    """A hash or a long name, cut; the caller shows the whole of it as a tooltip."""
    return text if len(text) <= keep + 1 else f"{text[:keep]}…"


def moment(text: str) -> str:
    """An ISO 8601 time for reading; any other text as it is."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()


def rounded(value: float | None, digits: int = 6) -> float | None:
    """A figure for the page's JSON, without digits that nobody can see."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
