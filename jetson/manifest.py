"""The manifest of a bundle: its records, and the rules they keep between them.

Format and versions are documented in docs/reference/bundle.md. Decoding is strict: an unknown key is an error that
names it, and a newer format version is refused before anything else is looked at.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from jetson.errors import BundleError

FORMAT = "offramp-bundle"
VERSION = 2
READABLE = (1, 2)
"""Version 1 knew one precision a unit; a unit without variants is just that."""

Task = Literal["classification", "regression"]
Precision = Literal["fp32", "fp16", "int8"]
Metric = Literal["accuracy", "mean_absolute_error"]
METRICS: dict[Task, Metric] = {"classification": "accuracy", "regression": "mean_absolute_error"}
BATCH = "batch"
"""Name of the dimension, in the graph of a unit, that may be any number of frames."""
MAX_ELEMENTS = 1 << 28
"""No tensor between units is larger; a damaged shape would ask for all memory."""
Demand = Callable[[bool, str], None]


class Record(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of everything kept on disk: immutable, and strict about its keys."""


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
        remedy = f"build it again with: offramp build CHECKPOINT --out BUNDLE --precision fp32,{precision}"
        if precision == "int8":
            remedy = "int8 cannot be built yet"
        raise BundleError(f"unit {self.name} is in the bundle in {have} only; {remedy}")


class Quality(Record, frozen=True, kw_only=True):
    """What an exit is worth on held-out data, with its interval."""

    metric: Metric
    value: float
    low: float
    high: float
    level: float
    n: int
    split: str


class Exit(Record, frozen=True, kw_only=True):
    """A place where inference may end: the segments up to its layer, then its branch."""

    name: str
    layer: int
    architecture: str
    units: tuple[str, ...]
    """The segments to run, in order, and the branch as the last."""
    quality: tuple[Quality, ...]
    """The first is what the scheduler believes (calibration split); further ones are for reports."""
    temperature: float | None = None
    """Logits are divided by this before the softmax; None for regression."""
    max_difference: float
    """Largest absolute difference between the chained units and PyTorch on the parity frames."""
    differences: dict[Precision, float] = {}
    """The same for the units' variants, all of one precision."""


class Split(Record, frozen=True, kw_only=True):
    """Size and content hash of one part of a data set."""

    n: int
    sha256: str


class DataRecord(Record, frozen=True, kw_only=True):
    """Which data trained and judged the model."""

    name: str
    splits: dict[str, Split]


class Parity(Record, frozen=True, kw_only=True):
    """How the exported units were held against PyTorch."""

    frames: int
    tolerance: float
    split: str
    tolerances: dict[Precision, float] = {}
    """Of the units' variants, by precision."""


class Provenance(Record, frozen=True, kw_only=True):
    """Where the bundle comes from."""

    created: str
    command: str
    versions: dict[str, str]
    checkpoint: str
    data: DataRecord | None = None


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
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that every unit has, the units' own first."""
        first, *others = self.units
        return tuple(
            v.precision for v in first.files if all(v.precision in [w.precision for w in u.files] for u in others)
        )

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


def decode_manifest(content: bytes, where: str) -> Manifest:
    """Read and check a manifest.

    Args:
        content: the bytes of manifest.json.
        where: its path, for messages.

    Raises:
        BundleError: not JSON, another format, a newer version, an unknown key, or records that contradict each other.
    """
    try:
        head = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where}: not valid JSON ({error}); the file is damaged, build or copy it again") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BundleError(f"{where}: not the manifest of an Offramp bundle")
    version = head.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"{where}: format version {version} is newer than this Offramp reads ({VERSION}); upgrade offramp here"
        )
    if version not in READABLE:
        raise BundleError(f"{where}: format version {version!r} is not one this Offramp reads ({VERSION})")
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{where}: {error}") from None
    _check(manifest, where)
    return msgspec.structs.replace(manifest, version=VERSION)


def _check(manifest: Manifest, where: str) -> None:
    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BundleError(f"{where}: {what}")

    names = [u.name for u in manifest.units]
    demand(len(set(names)) == len(names), "two units have the same name")
    segments = manifest.segments
    demand(bool(segments) and bool(manifest.exits), "a bundle needs at least one segment and one exit")
    for unit in manifest.units:
        _check_unit(unit, demand)
    layers = [s.layer for s in segments]
    demand(layers == sorted(set(layers)), "the segments are not in the order of their layers")
    for before, after in itertools.pairwise(segments):
        demand(_fits(before, after), f"{after.name} does not fit behind {before.name}")
    _check_preprocessing(manifest, demand)
    for exit_ in manifest.exits:
        _check_exit(manifest, exit_, demand)
    order = [e.layer for e in manifest.exits]
    demand(order == sorted(order), "the exits are not in the order of their layers")
    demand(order[-1] == layers[-1], "the last segment leads to no exit")
    demand(len({e.name for e in manifest.exits}) == len(manifest.exits), "two exits have the same name")
    branches = sorted(u.name for u in manifest.units if u.kind == "branch")
    demand(branches == sorted(e.units[-1] for e in manifest.exits), "branches and exits are not one to one")
    if manifest.task == "classification":
        classes = manifest.classes or ()
        demand(len(classes) == manifest.outputs, "the number of classes is not the number of outputs")


def _check_unit(unit: Unit, demand: Demand) -> None:
    for variant in unit.files:
        path = PurePosixPath(variant.file)
        inside = not path.is_absolute() and ".." not in path.parts and bool(path.parts)
        inside = inside and not set(variant.file) & set("\\\0")
        demand(inside, f"the file {variant.file!r} of unit {unit.name} leaves the bundle")
        demand(_is_sha256(variant.sha256), f"the hash of unit {unit.name} is not a SHA-256")
    found = [v.precision for v in unit.files]
    demand(len(set(found)) == len(found), f"unit {unit.name} is there twice in one precision")
    for shape in (unit.input.shape, unit.output.shape):
        possible = bool(shape) and min(shape) > 0 and math.prod(shape) <= MAX_ELEMENTS
        demand(possible, f"unit {unit.name} has an impossible shape")


def _fits(before: Unit, after: Unit) -> bool:
    """Whether one unit reads what the other writes; names differ."""
    return (before.output.shape, before.output.dtype) == (after.input.shape, after.input.dtype)


def _check_preprocessing(manifest: Manifest, demand: Demand) -> None:
    p = manifest.preprocessing
    demand(min(p.height, p.width, p.channels) > 0, "the preprocessing has an empty shape")
    demand(len(p.mean) == len(p.std) == p.channels, "mean and std need one value per channel")
    usable = all(abs(m) <= 1e6 for m in p.mean) and all(1e-6 <= s <= 1e6 for s in p.std)
    demand(usable, "mean or std is not usable")
    first = manifest.segments[0].input
    fits = first.shape == (1, p.channels, p.height, p.width) and first.dtype == "float32"
    demand(fits, "the first segment does not take what the preprocessing makes")


def _check_exit(manifest: Manifest, exit_: Exit, demand: Demand) -> None:
    names = {u.name for u in manifest.units}
    demand(bool(exit_.units) and set(exit_.units) <= names, f"exit {exit_.name} names a unit that is not there")
    branch = manifest.unit(exit_.units[-1])
    demand(branch.kind == "branch", f"exit {exit_.name} does not end in a branch")
    before = tuple(s.name for s in manifest.segments if s.layer <= exit_.layer)
    demand(exit_.units[:-1] == before and bool(before), f"exit {exit_.name} does not run the segments up to its layer")
    last = manifest.unit(before[-1])
    demand(last.layer == branch.layer == exit_.layer, f"exit {exit_.name}: its layer is not its branch's and segment's")
    demand(_fits(last, branch), f"branch {branch.name} does not fit behind {last.name}")
    demand(branch.output.shape == (1, manifest.outputs), f"{branch.name} does not give {manifest.outputs} outputs")
    demand(bool(exit_.quality), f"exit {exit_.name} has no quality")
    metric = METRICS[manifest.task]
    demand(all(q.metric == metric for q in exit_.quality), f"the quality of exit {exit_.name} is not its {metric}")
    if manifest.task == "classification":
        usable = exit_.temperature is not None and 1e-3 <= exit_.temperature <= 1e3
        demand(usable, f"the temperature of exit {exit_.name} is not a number between 0.001 and 1000")
    else:
        demand(exit_.temperature is None, f"exit {exit_.name} has a temperature, which regression does not know")


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
