"""Budget: the time an answer may take. It may change, from another thread, while inference runs."""

from __future__ import annotations

import math
import time
from numbers import Real
from typing import Literal

from jetson.errors import BudgetError

clock = time.monotonic
"""The clock of every time in jetson/, in seconds."""

Kind = Literal["relative", "absolute", "unbounded", "unknown"]


class Budget:
    """How long an answer may take. Make one with `within`, `until`, `unbounded` or `unknown`.

    `revise` and `cut` may be called from any thread; the runtime looks at the budget at every boundary between units.
    A relative budget starts anew with every inference it is given to; a cut stays.
    """

    __slots__ = ("_cut_at", "_limit", "changes")

    changes: int
    """Grows with every `revise` and `cut`: who has seen this number has seen all of them."""

    def __init__(self, kind: Kind, seconds: float) -> None:
        # One tuple, replaced as a whole: a reader in another thread sees the old budget or the new one, never a mix.
        self._limit: tuple[Kind, float] = (kind, seconds)
        self._cut_at = math.inf
        self.changes = 0

    @classmethod
    def within(cls, ms: float) -> Budget:
        """`ms` milliseconds, counted from the start of `infer`.

        Raises:
            BudgetError: not a number, NaN, or negative.
        """
        return cls("relative", _milliseconds(ms) / 1e3)

    @classmethod
    def until(cls, moment: float) -> Budget:
        """Until `moment`, in seconds on the clock of `time.monotonic()`.

        Raises:
            BudgetError: not a number, or NaN.
        """
        return cls("absolute", _number(moment))

    @classmethod
    def unbounded(cls) -> Budget:
        """No limit: what is believed best answers."""
        return cls("unbounded", math.inf)

    @classmethod
    def unknown(cls) -> Budget:
        """A limit nobody knows: exits that are worth their time are taken on the way, to have an answer at `cut`."""
        return cls("unknown", math.inf)

    def revise(self, ms: float | None = None, *, until: float | None = None) -> None:
        """Replace the limit, also in mid-inference.

        Args:
            ms: the new limit in milliseconds, counted from the start of the inference as in `within`.
            until: the new limit as a moment, as in `until`.

        Raises:
            BudgetError: both or neither given, not a number, NaN, or negative.
        """
        if (ms is None) == (until is None):
            raise BudgetError("revise a budget with either ms=... or until=...")
        if ms is not None:
            self._limit = ("relative", _milliseconds(ms) / 1e3)
        elif until is not None:
            self._limit = ("absolute", _number(until))
        self.changes += 1

    def cut(self) -> None:
        """Answer now, with the best so far; with the nearest exit when there is none yet."""
        self._cut_at = min(self._cut_at, clock())
        self.changes += 1

    @property
    def origin(self) -> Budget:
        """The one that is revised and cut: this one, where nothing limits it further."""
        return self

    @property
    def was_cut(self) -> bool:
        """Whether `cut` has been called."""
        return self._cut_at < math.inf

    @property
    def cut_at(self) -> float:
        """The moment `cut` was called first, in seconds; infinite before."""
        return self._cut_at

    @property
    def kind(self) -> Kind:
        """How the limit is given at this moment."""
        return self._limit[0]

    def deadline(self, start: float) -> float:
        """The moment the answer is due, for an inference that began at `start` (seconds); infinite without limit."""
        kind, seconds = self._limit
        return start + seconds if kind == "relative" else seconds

    def __repr__(self) -> str:
        kind, seconds = self._limit
        text = {"relative": f"within(ms={seconds * 1e3:g})", "absolute": f"until({seconds:.6f})"}.get(kind, f"{kind}()")
        return f"Budget.{text}"


def _number(value: float) -> float:
    # numpy's numbers are Real; its booleans, strings and arrays are not.
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BudgetError(f"a budget is a number, not {value!r:.80}")
    try:
        number = float(value)
    except OverflowError:
        raise BudgetError("a budget cannot be that large; for no limit use Budget.unbounded()") from None
    if math.isnan(number):
        raise BudgetError("a budget cannot be NaN; for no limit use Budget.unbounded()")
    if number == -math.inf:
        raise BudgetError("a budget cannot be minus infinity")
    return number


def _milliseconds(value: float) -> float:
    number = _number(value)
    if number < 0:
        raise BudgetError(f"a budget cannot be negative ({number:g} ms)")
    return number
