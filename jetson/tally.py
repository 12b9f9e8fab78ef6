"""The figures of a run, added up frame by frame, so that a run without end needs no memory without end."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

KEPT = 200_000
"""Latencies that quantiles are taken from: all of them up to here, then an even sample."""


class Tally:
    """Adds up the records that `jetson.replay` gives."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.frames = self.late = self.dropped = self.unreadable = 0
        self.exits: Counter[str] = Counter()
        self._judged = self._right = self._right_in_time = 0
        self._error = self._errors = 0.0
        self._known = self._feasible = self._missed = self._branches = 0
        self._compute_ms = 0.0
        self._elapsed = array("d")
        self._from_ms: float | None = None
        self._to_ms = 0.0
        self._random = random.Random(0)

    def add(self, record: Mapping[str, Any]) -> None:
        """A frame was answered."""
        self.frames += 1
        self.exits[record["exit_name"]] += 1
        self.dropped += record.get("dropped") or 0
        met = record["met_deadline"]
        self.late += met is False
        if record["correct"] is not None:
            self._judged += 1
            self._right += record["correct"]
            self._right_in_time += record["correct"] and met is not False
        if record["error_abs"] is not None:
            self._errors += 1
            self._error += record["error_abs"]
        if met is not None:
            self._known += 1
            self._feasible += bool(record["feasible"])
            self._missed += bool(record["feasible"]) and not met
        self._branches += record["branches"]
        self._compute_ms += sum(unit["host_ms"] for unit in record["units"])
        elapsed = record["elapsed_ms"]
        if len(self._elapsed) < KEPT:
            self._elapsed.append(elapsed)
        elif (place := self._random.randrange(self.frames)) < KEPT:
            self._elapsed[place] = elapsed
        if (t_ms := record.get("t_ms")) is not None:
            self._from_ms = t_ms if self._from_ms is None else self._from_ms
            self._to_ms = max(self._to_ms, t_ms + elapsed)

    @property
    def acc_at_d(self) -> float | None:
        """Share of the frames answered in time and right, of those whose target is known."""
        return _share(self._right_in_time, self._judged)

    def summary(self) -> dict[str, Any]:
        """The figures; `jetson.replay.summarise` says what they are."""
        elapsed = np.frombuffer(self._elapsed) if self._elapsed else None
        return {
            "frames": self.frames,
            "acc_at_d": self.acc_at_d,
            "accuracy": _share(self._right, self._judged),
            "mean_absolute_error": _share(self._error, self._errors),
            "miss_rate": _share(self._missed, self._feasible),
            "infeasible_share": _share(self._known - self._feasible, self._known),
            "late": self.late,
            "dropped": self.dropped,
            "unreadable": self.unreadable,
            "seconds": None if self._from_ms is None else (self._to_ms - self._from_ms) / 1e3,
            "mean_compute_ms": _share(self._compute_ms, self.frames),
            "branches_per_frame": _share(self._branches, self.frames),
            "p50_ms": None if elapsed is None else float(np.quantile(elapsed, 0.5)),
            "p99_ms": None if elapsed is None else float(np.quantile(elapsed, 0.99)),
            "exits": dict(self.exits),
        }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
