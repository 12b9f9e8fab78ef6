"""What a runtime did, in the text format that Prometheus reads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from jetson.answer import Answer

BOUNDS = tuple(m * 10.0**e for e in (-4, -3, -2, -1, 0) for m in (1, 2, 5))
"""Upper bounds of the latency histogram, seconds: 0.1 ms to 5 s."""
TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text, as HTTP calls it."""


class Metrics:
    """Counts answers; any thread may count and read."""

    def __init__(self, exits: Sequence[str]) -> None:
        """Begin at zero.

        Args:
            exits: names of all exits, so that one that never answers is there too.
        """
        self._lock = threading.Lock()
        self._answers = dict.fromkeys(exits, 0)
        self._in_time = self._late = self._failed = self._dropped = 0
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = self._computed = 0.0
        self._slowdown = 1.0

    def count(self, answer: Answer, dropped: int = 0) -> None:
        """An answer was given.

        Args:
            answer: it.
            dropped: frames that came since the one before, and were not answered.
        """
        seconds = answer.elapsed_ms / 1e3
        place = sum(seconds > bound for bound in BOUNDS)
        with self._lock:
            self._answers[answer.exit_name] = self._answers.get(answer.exit_name, 0) + 1
            self._in_time += answer.met_deadline is True
            self._late += answer.met_deadline is False
            self._failed += answer.error is not None
            self._dropped += dropped
            self._counts[place] += 1
            self._seconds += seconds
            self._computed += sum(run.host_ms for run in answer.trace) / 1e3
            self._slowdown = answer.slowdown

    def fail(self) -> None:
        """A frame could not be answered."""
        with self._lock:
            self._failed += 1

    def text(self) -> str:
        """All of it, for a scrape."""
        with self._lock:
            below, lines = 0, []
            for bound, count in zip((*(f"{b:g}" for b in BOUNDS), "+Inf"), self._counts, strict=True):
                below += count
                lines.append(f'offramp_latency_seconds_bucket{{le="{bound}"}} {below}')
            return "".join(
                _family(name, kind, what, values)
                for name, kind, what, values in (
                    (
                        "offramp_answers_total",
                        "counter",
                        "Answers by exit.",
                        [f'offramp_answers_total{{exit="{_escaped(e)}"}} {n}' for e, n in self._answers.items()],
                    ),
                    (
                        "offramp_deadlines_total",
                        "counter",
                        "Answers to budgets that were told.",
                        [
                            f'offramp_deadlines_total{{met="{met}"}} {n}'
                            for met, n in (("true", self._in_time), ("false", self._late))
                        ],
                    ),
                    (
                        "offramp_failures_total",
                        "counter",
                        "Frames that an engine failed in, answered all the same or not.",
                        [f"offramp_failures_total {self._failed}"],
                    ),
                    (
                        "offramp_dropped_total",
                        "counter",
                        "Frames that came while the device was busy, and were not answered.",
                        [f"offramp_dropped_total {self._dropped}"],
                    ),
                    (
                        "offramp_latency_seconds",
                        "histogram",
                        "From the call to the answer.",
                        [
                            *lines,
                            f"offramp_latency_seconds_sum {self._seconds!r}",
                            f"offramp_latency_seconds_count {below}",
                        ],
                    ),
                    (
                        "offramp_compute_seconds_total",
                        "counter",
                        "Inside engines.",
                        [f"offramp_compute_seconds_total {self._computed!r}"],
                    ),
                    (
                        "offramp_slowdown",
                        "gauge",
                        "How many times as long units take as when they were profiled.",
                        [f"offramp_slowdown {self._slowdown!r}"],
                    ),
                )
            )


def _family(name: str, kind: str, what: str, values: Sequence[str]) -> str:
    return "\n".join([f"# HELP {name} {what}", f"# TYPE {name} {kind}", *values]) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
