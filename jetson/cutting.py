"""How a bundle came to be cut: its records in the manifest."""

from __future__ import annotations

from jetson.record import Record


class Choice(Record, frozen=True, kw_only=True):
    """Whether a branch was fused into its segment, and by which figures."""

    branch: str
    segment: str
    fused: bool
    reason: str
    """For people."""
    boundary_ms: float | None = None
    """What a boundary of its own costs, over the frames that run the segment; None when nobody measured."""
    skipping_ms: float | None = None
    """What skipping the branch saves, over the same frames."""


class Cutting(Record, frozen=True, kw_only=True):
    """Where the backbone was cut, which branches were fused, and why."""

    asked: str
    """`auto`, `all` or the layers that `--cuts` named."""
    merged: tuple[int, ...] = ()
    """Layers that are not cut after, since no exit lies there."""
    profile: str | None = None
    """The identity of the bundle, with every branch apart, whose profile decided; None without one."""
    choices: tuple[Choice, ...] = ()
