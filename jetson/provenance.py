"""Where a bundle comes from: its records in the manifest."""

from __future__ import annotations

from jetson.record import Record


class Split(Record, frozen=True, kw_only=True):
    """Size and content hash of one part of a data set."""

    n: int
    sha256: str


class DataRecord(Record, frozen=True, kw_only=True):
    """Which data trained and judged the model."""

    name: str
    splits: dict[str, Split]


class Provenance(Record, frozen=True, kw_only=True):
    """Where the bundle comes from."""

    created: str
    command: str
    versions: dict[str, str]
    checkpoint: str
    data: DataRecord | None = None
    """What trained and judged it, by part and by role."""
    calibrated: DataRecord | None = None
    """By role, what `offramp calibrate` used since."""
