"""The manifest of a bundle: its records. Format and versions are documented in docs/reference/bundle.md."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from jetson.beliefs import Interval, Joint, Posterior, Reliability, SampleFile
from jetson.cutting import Cutting
from jetson.errors import BundleError
from jetson.provenance import DataRecord as DataRecord
from jetson.provenance import Provenance as Provenance
from jetson.provenance import Split as Split
from jetson.record import Record

FORMAT = "offramp-bundle"
VERSION = 5
READABLE = (1, 2, 3, 4, 5)
"""Version 1 knew one precision a unit; version 2 neither int8 nor what an exit's answer says of the others; version 3
no samples; version 4 no fused branches. What they lack is optional, so they are read as they are."""

Task = Literal["classification", "regression"]
Precision = Literal["fp32", "fp16", "int8", "int8-fp16"]
"""int8: weights and inputs of matrix products and convolutions, the rest in fp32, for a CPU; int8-fp16: the rest in
fp16, for TensorRT."""
FALLBACKS: dict[Precision, tuple[Precision, ...]] = {
    "fp32": (),
    "fp16": ("fp32",),
    "int8": ("fp32",),
    "int8-fp16": ("fp16", "fp32"),
}
"""What a unit runs in when it is not there in the precision that is asked of all."""
Metric = Literal["accuracy", "mean_absolute_error"]
METRICS: dict[Task, Metric] = {"classification": "accuracy", "regression": "mean_absolute_error"}
BATCH = "batch"
"""Name of the dimension, in the graph of a unit, that may be any number of frames."""
MAX_ELEMENTS = 1 << 28
"""No tensor between units is larger; a damaged shape would ask for all memory."""


class Tensor(Record, frozen=True, kw_only=True):
    """One input or output of a unit."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint8"] = "float32"


class Preprocessing(Record, frozen=True, kw_only=True):
    """How a camera frame becomes the first unit's input; calibration, profiling and runtime all use this record.

    A frame is uint8, height x width x channels. It is resized to `height` x `width` (bilinear, antialiased when it
    shrinks, aspect not kept), divided by 255, normalised per channel and laid out as 1 x channels x height x width.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["bilinear"] = "bilinear"
    layout: Literal["NCHW"] = "NCHW"


class Variant(Record, frozen=True, kw_only=True):
    """A unit once more, in another precision; what goes in and out stays float32, so that precisions can be mixed."""

    precision: Precision
    file: str
    sha256: str
    size_bytes: int


class Unit(Record, frozen=True, kw_only=True):
    """One engine: a segment of the backbone or the branch of one exit."""

    name: str
    kind: Literal["segment", "branch"]
    layer: int
    """The backbone layer after which the unit ends (1 is the first layer)."""
    file: str
    sha256: str
    size_bytes: int
    input: Tensor
    output: Tensor
    parameters: int
    flops: int
    """Floating-point operations of one frame, two per multiply-add, as PyTorch's flop counter counts them."""
    precision: Precision = "fp32"
    source: str = ""
    """Hash of all that shaped the unit; a build exports a unit again only when this changes."""
    dynamic_batch: bool = False
    """Whether the graph takes any number of frames at once; `input` and `output` speak of one."""
    variants: tuple[Variant, ...] = ()
    """The same unit in other precisions."""
    fused: str | None = None
    """Of a branch: the segment whose graph gives this branch's output too. Its files are then that segment's, and it
    takes no time of its own to run."""

    @property
    def files(self) -> tuple[Variant, ...]:
        """The unit in every precision it has, its own first."""
        own = Variant(precision=self.precision, file=self.file, sha256=self.sha256, size_bytes=self.size_bytes)
        return (own, *self.variants)

    def at(self, precision: Precision) -> Variant:
        """The unit in one precision.

        Raises:
            BundleError: the bundle does not hold it.
        """
        for variant in self.files:
            if variant.precision == precision:
                return variant
        have = ", ".join(v.precision for v in self.files)
        raise BundleError(f"unit {self.name} is in the bundle in {have} only; {_remedy(precision)}")


class Quality(Record, frozen=True, kw_only=True):
    """What an exit is worth on held-out data, with its interval."""

    metric: Metric
    value: float
    low: float
    high: float
    level: float
    n: int
    split: str
    per_class: tuple[float, ...] | None = None
    """Share of each class's frames that are answered rightly; None in regression, -1 for a class without frames."""


class Exit(Record, frozen=True, kw_only=True):
    """A place where inference may end: the segments up to its layer, then its branch."""

    name: str
    layer: int
    architecture: str
    units: tuple[str, ...]
    """The segments to run, in order, and the branch as the last."""
    quality: tuple[Quality, ...]
    """The first is what the scheduler believes (`select` images); further ones are for reports."""
    temperature: float | None = None
    """Logits are divided by this before the softmax; None for regression."""
    max_difference: float
    """Largest absolute difference between the chained units and PyTorch on the parity frames."""
    differences: dict[Precision, float] = msgspec.field(default_factory=dict)
    """The same for the units' variants, all of one precision."""
    variant_quality: dict[Precision, tuple[Quality, ...]] = msgspec.field(default_factory=dict)
    """What the exit is worth in a precision, on the same splits as `quality`."""
    posterior: Posterior | None = None
    """How sure its answer may be; the temperature alone says it when None. Classification only."""
    interval: Interval | None = None
    """Regression: how far off its answer may be."""
    reliability: tuple[Reliability, ...] = ()
    """Whether the posterior holds what it says, on `select` and on `test`."""


class Kept(Record, frozen=True, kw_only=True):
    """A unit that does not run in int8, and why."""

    unit: str
    precision: Precision
    """What it runs in instead."""
    reason: str


class Quantisation(Record, frozen=True, kw_only=True):
    """How the int8 units came to be."""

    method: str
    """Of the activations' ranges: minmax, percentile, entropy or mse."""
    frames: int
    """That the ranges were taken from."""
    data: str
    """Which data."""
    sha256: str
    """Of these frames and their targets."""
    max_drop: float
    """The gate: no exit may lose more; accuracy in shares, or a share of the error."""
    kept: tuple[Kept, ...] = ()


class Parity(Record, frozen=True, kw_only=True):
    """How the exported units were held against PyTorch."""

    frames: int
    tolerance: float
    split: str
    tolerances: dict[Precision, float] = msgspec.field(default_factory=dict)
    """Of the units' variants, by precision."""


class Manifest(Record, frozen=True, kw_only=True):
    """The whole of manifest.json."""

    format: Literal["offramp-bundle"] = "offramp-bundle"
    version: int = VERSION
    task: Task
    classes: tuple[str, ...] | None
    outputs: int
    preprocessing: Preprocessing
    units: tuple[Unit, ...]
    exits: tuple[Exit, ...]
    parity: Parity
    joint: Joint | None = None
    quantisation: Quantisation | None = None
    cutting: Cutting | None = None
    plans: dict[str, tuple[Precision, ...]] = msgspec.field(default_factory=dict)
    """By engine what each unit runs in when nobody says, chosen by measured latency; else `default_precisions` says."""
    samples: dict[str, SampleFile] = msgspec.field(default_factory=dict)
    """By role, for planners and simulations; in the units' own precisions."""
    build: str
    """Hash of everything that shaped the bundle; a second build of the same input stops here."""
    provenance: Provenance

    def unit(self, name: str) -> Unit:
        """The unit called `name`."""
        return next(u for u in self.units if u.name == name)

    @property
    def segments(self) -> tuple[Unit, ...]:
        """The segments of the backbone, first to last."""
        return tuple(u for u in self.units if u.kind == "segment")

    @property
    def filed(self) -> tuple[Unit, ...]:
        """The units with files of their own: all but fused branches."""
        return tuple(u for u in self.units if u.fused is None)

    def given(self, unit: Unit) -> tuple[Tensor, ...]:
        """What a unit's graph gives: its output, then those of the branches that are fused into it."""
        return (unit.output, *(b.output for b in self.units if b.fused == unit.name))

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that every unit has, the units' own first."""
        first, *others = self.units
        return tuple(
            v.precision for v in first.files if all(v.precision in [w.precision for w in u.files] for u in others)
        )

    @property
    def offered(self) -> tuple[Precision, ...]:
        """The precisions that at least one unit has; `nearest` says what the others run in then."""
        return tuple(dict.fromkeys(v.precision for u in self.units for v in u.files))

    def nearest(self, precision: Precision) -> tuple[Precision, ...]:
        """What each unit runs in when one precision is asked of all: that, or the first of its `FALLBACKS` it has.

        Raises:
            BundleError: no unit has it, or one has nothing that could take its place.
        """
        if precision not in self.offered:
            raise BundleError(f"the bundle is in {', '.join(self.offered)} only; {_remedy(precision)}")
        found: list[Precision] = []
        for unit in self.units:
            have = [v.precision for v in unit.files]
            fitting = [p for p in (precision, *FALLBACKS[precision]) if p in have]
            found.append(fitting[0] if fitting else unit.at(precision).precision)
        return tuple(found)

    @property
    def identity(self) -> str:
        """`identity_at` the units' own precisions."""
        return self.identity_at([u.precision for u in self.units])

    def identity_at(self, precisions: Sequence[Precision]) -> str:
        """SHA-256 over what decides latency: the content of what runs and the preprocessing. Profiles refer to it.

        Args:
            precisions: the one each unit runs in, in the order of the units.

        Raises:
            BundleError: a unit is not there in its precision.
        """
        chosen = [(u, u.at(p)) for u, p in zip(self.units, precisions, strict=True)]
        parts = [f"{u.name} {u.kind} {v.sha256} {v.precision}" for u, v in chosen]
        parts.append(msgspec.json.encode(self.preprocessing).decode())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _remedy(precision: Precision) -> str:
    return f"build it again with: offramp build CHECKPOINT --out BUNDLE --precision fp32,{precision}"
