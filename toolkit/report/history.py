"""checkpoint/training.json: how the model was trained. Written by several trainers, so read with tolerance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from jetson.errors import DataError
from jetson.files import storage
from toolkit.report.formats import is_number


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over the training data."""

    phase: str | None = None
    epoch: int | None = None
    loss: float | None = None
    seconds: float | None = None
    exits: dict[str, dict[str, Any]] | None = None

    def exit_loss(self, name: str) -> float | None:
        """The mean loss of one exit; None where it was not trained in this phase."""
        loss = (self.exits or {}).get(name, {}).get("loss")
        return float(loss) if loss is not None and is_number(loss) else None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What PyTorch scored on the test split after training."""

    exit: str
    metric: str = ""
    value: float | None = None
    n: int | None = None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of training.json that the report shows."""

    strategy: str | None = None
    seed: int | None = None
    history: tuple[Epoch, ...] = ()
    test: tuple[Score, ...] = ()


def read_history(file: Path) -> History:
    """Read a training history; missing keys are left out, a loss that is NaN or infinite counts as missing.

    Raises:
        DataError: not JSON, or a value of another type than it should have.
        StorageError: the file cannot be read.
    """
    with storage(file, "read"):
        content = file.read_bytes()
    try:
        # Python's reader: a run that diverged wrote NaN, which strict JSON does not know.
        return msgspec.convert(_finite(json.loads(content)), History)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a training history ({error}); remove it or train again") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return value
