"""What an examination finds, and what follows from it for each engine."""

from __future__ import annotations

from typing import Literal

from jetson.record import Record

State = Literal["ok", "warning", "missing", "not here"]
"""`missing` is needed and can be had; `not here` is neither needed here nor a fault."""
Group = Literal["Machine", "GPU", "Engines", "Power", "Room"]


class Finding(Record, frozen=True, kw_only=True):
    """One thing that was looked at."""

    name: str
    """For programs: it stays the same from version to version."""
    group: Group
    title: str
    state: State
    found: str
    mend: str | None = None
    """The one command or sentence that mends it; None where nothing is to be mended."""


class Verdict(Record, frozen=True, kw_only=True):
    """Whether one engine can work here."""

    engine: str
    state: State
    because: str | None = None
    """Why not."""
    mend: str | None = None

    @property
    def ready(self) -> bool:
        """Whether it can."""
        return self.state == "ok"

    @property
    def sentence(self) -> str:
        """The verdict in plain words, one line."""
        if self.ready:
            return f"{self.engine}: ready"
        return f"{self.engine}: not ready, because {self.because}" + (f"; do: {self.mend}" if self.mend else "")


class Ready(Record, frozen=True, kw_only=True):
    """What this machine can do."""

    onnxruntime: bool
    """Run a bundle on the processor."""
    tensorrt: bool
    """Build engines for its own GPU and run them."""
    build_rtx: bool
    """Build engines for a named RTX target, with or without a GPU."""


class Report(Record, frozen=True, kw_only=True):
    """The whole examination."""

    offramp: str
    ready: Ready
    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
