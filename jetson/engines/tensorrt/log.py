"""What TensorRT says: its log, the nodes its parser cannot read, how far a build is.

TensorRT's classes are subclassed in functions, since TensorRT is imported where it is first used. Nothing may be
raised out of a method that TensorRT calls.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any

from jetson.record import Record

KEPT_LINES = 12
REPORT_EVERY_S = 0.1


class BadNode(Record, frozen=True, kw_only=True):
    """A node of a graph that TensorRT's parser refuses."""

    name: str
    operator: str
    description: str

    def __str__(self) -> str:
        """For people."""
        name = f" {self.name!r}" if self.name else ""
        return f"{self.operator or 'the graph'}{name} ({self.description})"


class Log:
    """The last warnings and errors."""

    def __init__(self, keep: int = KEPT_LINES) -> None:
        """Start empty.

        Args:
            keep: so many errors, and so many warnings.
        """
        self.errors: collections.deque[str] = collections.deque(maxlen=keep)
        self.warnings: collections.deque[str] = collections.deque(maxlen=keep)

    def add(self, text: str, error: bool) -> None:
        """Keep a message, once when it is said twice in a row."""
        lines = self.errors if error else self.warnings
        line = " ".join(text.split())
        if line and (not lines or lines[-1] != line):
            lines.append(line)

    def __str__(self) -> str:
        """The errors, or the warnings when there was no error, in one line."""
        return " | ".join(self.errors or self.warnings)


def make_logger(trt: Any, add: Callable[[str, bool], None]) -> Any:
    """An `ILogger` that hands on warnings and errors.

    Args:
        trt: TensorRT's module.
        add: is told the text, and whether it is an error; e.g. `Log().add`.
    """
    errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)
    told = (*errors, trt.ILogger.WARNING)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in told:
                add(msg, severity in errors)

    return Logger()


def bad_nodes(parser: Any) -> tuple[BadNode, ...]:
    """Every node that an `OnnxParser` could not read."""
    faults = [parser.get_error(i) for i in range(parser.num_errors)]
    return tuple(_bad_node(fault) for fault in faults)


def _bad_node(fault: Any) -> BadNode:
    reason = " ".join(fault.desc().split())
    return BadNode(name=fault.node_name(), operator=fault.node_operator(), description=reason or "no reason given")


class Phases:
    """How much of a build is done, from phases that nest: a step of one is a whole phase of the next."""

    def __init__(self) -> None:
        """Nothing is done."""
        self.share = 0.0
        """0..1; it never falls."""
        self.current = ""
        self._open: list[tuple[str, int]] = []
        self._done: dict[str, int] = {}

    def start(self, name: str, steps: int) -> None:
        """A phase begins, inside of those that are open."""
        self._open.append((name, max(1, steps)))
        self._done[name] = 0
        self.current = name

    def step(self, name: str, step: int) -> None:
        """A phase has done step number `step`, the first being 0."""
        self._done[name] = step + 1
        share, part = 0.0, 1.0
        for phase, steps in self._open:
            share += part * min(1.0, self._done[phase] / steps)
            part /= steps
        self.share = min(1.0, max(self.share, share))

    def finish(self, name: str) -> None:
        """A phase is over."""
        self._open = [p for p in self._open if p[0] != name]


def make_monitor(trt: Any, tell: Callable[[float, str], None], cancelled: Callable[[], bool]) -> Any:
    """An `IProgressMonitor` that reports the share done and can stop the build.

    Args:
        trt: TensorRT's module.
        tell: is told the share done, 0..1, and the name of the phase, a few times a second.
        cancelled: whether to stop.
    """
    phases = Phases()
    last = 0.0

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            nonlocal last
            phases.step(phase_name, step)
            if time.monotonic() >= last + REPORT_EVERY_S:
                last = time.monotonic()
                tell(phases.share, phases.current)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
