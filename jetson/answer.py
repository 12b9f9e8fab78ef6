"""Answer: what one inference gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class UnitRun(NamedTuple):
    """One unit that ran, with its times in milliseconds."""

    unit: str
    start_ms: float
    """From the start of the inference."""
    host_ms: float
    """Inside the engine."""
    end_to_end_ms: float
    """From boundary to boundary: the decision, the engine, and reading the output."""
    gpu_ms: float | None = None
    """On the GPU, between two events; None without one.

    Of units that were enqueued together the host sees one time: it is shared out by their GPU times."""


@dataclass(frozen=True)
class Answer:
    """The answer of one exit, and how it came about."""

    exit: int
    """Number of the exit, the first is 1."""
    exit_name: str
    output: npt.NDArray[np.float32]
    """The exit's raw output, shape (outputs,): logits, or values in regression."""
    class_index: int | None
    label: str | None
    value: tuple[float, ...] | None
    """The values in regression, None in classification."""
    confidence: float | None
    """Probability that the class is right, given this exit's scores and the answer that was in hand before it; of a
    bundle without posteriors, the class's softmax at the exit's temperature. None in regression."""
    elapsed_ms: float
    """From the call of `infer` or `infer_many` to the answer."""
    answered_ms: float
    """When this answer was in hand; what ran afterwards did not replace it."""
    budget_ms: float | None
    """The limit as it stood at the end, from the start of the inference; None without a known limit."""
    met_deadline: bool | None
    """False for a late answer; None without a known limit."""
    preprocess_ms: float
    """From the turn of the frame to the first unit."""
    trace: tuple[UnitRun, ...]
    slowdown: float
    """The policy's estimate after this inference."""
    error: str | None = None
    """Set when an engine failed and an exit could answer all the same: the answer is then the best there is."""
    waited_ms: float = 0.0
    """From the call of `infer_many` to the turn of the frame, from which the times in `trace` count."""
    together: int = 1
    """How many frames were answered at once, this one included; `trace` is that of all of them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the raw output is left out."""
        return {
            "exit": self.exit,
            "exit_name": self.exit_name,
            "class": self.class_index,
            "label": self.label,
            "value": None if self.value is None else list(self.value),
            "confidence": self.confidence,
            "elapsed_ms": self.elapsed_ms,
            "answered_ms": self.answered_ms,
            "budget_ms": self.budget_ms,
            "met_deadline": self.met_deadline,
            "preprocess_ms": self.preprocess_ms,
            "slowdown": self.slowdown,
            **({"waited_ms": self.waited_ms} if self.waited_ms else {}),
            **({"together": self.together} if self.together > 1 else {}),
            "units": [run._asdict() for run in self.trace],
            **({"error": self.error} if self.error else {}),
        }
