"""What `offramp run --json` prints and `--record` keeps: a line of JSON for every frame, and one at the end.

Nothing is made of these records when a program runs; they say what the lines hold, and a test holds real lines against
them. docs/reference/records.md shows them.
"""

from __future__ import annotations

import msgspec

from jetson.record import Record


class UnitLine(Record, frozen=True, kw_only=True):
    """One unit that ran, its times in milliseconds."""

    unit: str
    start_ms: float
    """From the start of the inference."""
    host_ms: float
    """Inside the engine."""
    end_to_end_ms: float
    """From boundary to boundary: the decision, the engine, and reading the output."""
    gpu_ms: float | None
    """On the GPU; null without one."""


class Frame(Record, frozen=True, kw_only=True):
    """The line of a frame."""

    frame: int
    """Number of the answer, from 0."""
    t_ms: float
    """When the frame came, or its turn where it was there all along, from the beginning of the run."""
    name: str | None
    """Of its file."""
    source_frame: int
    """Number in its source, from 0; dropped and unreadable ones count."""
    source_ms: float | None
    """Its time on the source's own clock: the place in a video."""
    dropped: int
    """Frames that came since the answer before, and were not answered."""
    exit: int
    """Number of the exit that answered, from 1."""
    exit_name: str
    class_index: int | None = msgspec.field(name="class")
    """Null in regression, as `label` and `confidence` are."""
    label: str | None
    value: list[float] | None
    """The values in regression, null in classification."""
    confidence: float | None
    """Probability that the class is right."""
    elapsed_ms: float
    """From when the frame came, or from its turn, to the answer."""
    answered_ms: float
    """When this answer was in hand; what ran afterwards did not replace it."""
    budget_ms: float | None
    """As it stood at the end; null without a limit."""
    met_deadline: bool | None
    preprocess_ms: float
    slowdown: float
    """The estimate after this frame."""
    waited_ms: float
    """From when the frame came to its turn."""
    units: list[UnitLine]
    """What ran, in order."""
    error: str | None = None
    """Of an engine that failed while there was an answer all the same; left out where none did."""
    feasible: bool | None
    """Whether the quickest exit's latency, at the quantile of `--level`, fits into the budget."""
    branches: int
    """How many branches ran."""
    target: int | list[float] | None
    """What is right; null where the data does not tell, as are the two below."""
    correct: bool | None
    """Classification."""
    error_abs: float | None
    """Regression: mean absolute error over the values."""


class Summary(Record, frozen=True, kw_only=True):
    """The figures of a run; what cannot be said is null."""

    frames: int
    acc_at_d: float | None
    """Share of the frames answered in time and right."""
    accuracy: float | None
    """Share answered rightly, late or not."""
    mean_absolute_error: float | None
    miss_rate: float | None
    """Share of late answers, over the budgets that can be met."""
    infeasible_share: float | None
    """Share of the budgets that cannot."""
    late: int
    dropped: int
    """Frames that came while the device was busy, and were not answered."""
    unreadable: int
    """Images that could not be decoded."""
    seconds: float | None
    """From the first frame to the last answer."""
    mean_compute_ms: float | None
    """Time inside engines, a frame."""
    branches_per_frame: float | None
    p50_ms: float | None
    """Median of `elapsed_ms`."""
    p99_ms: float | None
    """Both from all latencies, or from 200,000 where there are more."""
    exits: dict[str, int]
    """How often each exit answered."""


class Last(Record, frozen=True, kw_only=True):
    """The line after the last frame."""

    summary: Summary
