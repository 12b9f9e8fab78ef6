"""The int8 step of a build: ranges from real frames, units in int8, and the gate that every exit must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from calibration.checks import FEWEST, CalibrationFacts, check_calibration
from calibration.gate import INT8
from jetson.bundle import Bundle
from jetson.errors import BadInput, DataError, FrameError
from jetson.files import storage, write_file
from jetson.manifest import Kept, Manifest, Precision, Preprocessing, Quantisation, Task, Unit, Variant
from jetson.preprocessing import Preprocessor
from toolkit.data.dataset import Part
from toolkit.export.units import UNITS, Step, describe_variant, followed
from toolkit.gate import hold_gate, without_int8

FRAMES = 256
METHOD = "mse"
MAX_DROP: dict[Task, float] = {"classification": 0.01, "regression": 0.05}
"""One point of accuracy, or a twentieth of the error."""


@dataclass(frozen=True)
class Int8Settings:
    """How units are put into int8."""

    data: str | None = None
    """Data spec of the frames that ranges are taken from; the `fit` images of the build's data when None."""
    frames: int = FRAMES
    """At most so many of them."""
    method: str = METHOD
    max_drop: float | None = None
    """`MAX_DROP` when None."""
    together: bool = True
    """Each unit is fitted to what the int8 units before it give."""

    def check(self) -> None:
        """Hold the settings against what makes sense.

        Raises:
            BadInput: naming the option.
        """
        from calibration.int8.ranges import METHODS

        if self.method not in METHODS:
            raise BadInput(f"--int8-method {self.method}: the methods are {', '.join(METHODS)}")
        if self.max_drop is not None and not 0 <= self.max_drop <= 1:
            raise BadInput(f"--max-drop {self.max_drop}: must lie between 0 and 1 (0.01 is one point of accuracy)")
        if self.frames < FEWEST:
            raise BadInput(f"--calibration-frames {self.frames}: int8 takes {FEWEST} at least, better 256 or more")


@dataclass(frozen=True)
class CalibrationFrames:
    """The frames that the ranges of int8 are taken from."""

    part: Part
    whole: Part
    """What they were taken from."""
    data: str
    """What the manifest calls them."""
    where: str
    """What messages call them."""

    def check(self, preprocessing: Preprocessing, classes: tuple[str, ...] | None) -> CalibrationFacts:
        """Refuse frames that nothing can be learnt from; decodes each.

        Raises:
            DataError: of another shape than the model takes, too few, not distinct, of one class, or no pictures.
        """
        try:
            Preprocessor(preprocessing)(self.part.images[0])
        except FrameError as error:
            raise DataError(f"{self.where}: {error}") from None
        return check_calibration(self.part.images, self.part.targets, classes, self.where)


@dataclass(frozen=True)
class Int8Result:
    """A bundle's manifest with its int8 units, and what the user should know."""

    manifest: Manifest
    remarks: tuple[str, ...]


def calibration_frames(
    settings: Int8Settings, parts: Mapping[str, Part], name: str, spec: str, channels: int
) -> CalibrationFrames:
    """The frames that ranges are taken from; files are hashed and not decoded yet.

    Args:
        settings: which and how many.
        parts: by role, what else is used for this model.
        name: of the data that these parts are of.
        spec: of the same data; when the settings name that too, however it is spelt, its `fit` images are meant.
        channels: of the model's input.

    Raises:
        DataError: they cannot be read, or have another role in this model already.
    """
    from toolkit.data import frames
    from toolkit.data.roles import refuse_shared

    fit = parts["fit"]
    found = fit if settings.data in (None, spec) else frames(settings.data, "calibration").for_channels(channels)
    if found is fit or set(found.digests) == {*fit.digests, *parts["select"].digests}:
        return CalibrationFrames(fit.head(settings.frames), fit, name, f"{spec}, its fit images")
    assert settings.data is not None
    refuse_shared(found, {role: part for role, part in parts.items() if role != "fit"}, settings.data)
    # Frames of a film follow each other: its beginning would stand for all of it.
    few = np.random.default_rng(0).permutation(len(found))[: settings.frames]
    flat = found.targets is None or settings.data.endswith(".npz")
    where = settings.data if flat else f"{settings.data}, its calibration part"
    return CalibrationFrames(found.pick(np.sort(few)), found, settings.data, where)


def quantise_bundle(
    bundle: Bundle, frames: CalibrationFrames, select: Part, settings: Int8Settings, begin: Step
) -> Int8Result:
    """Write every unit in int8 beside its fp32 file, and keep those that the gate lets pass.

    Args:
        bundle: a draft whose units are in fp32, and in fp16 where int8 is to have its rest in fp16.
        frames: that the ranges are taken from; checked.
        select: the frames of the gate.
        settings: how.
        begin: told of the progress.

    Raises:
        DataError: an activation is no number, or the gate cannot be held.
    """
    from calibration.int8.chain import quantise_units

    images = frames.part.images
    done = begin(f"int8 ranges from {len(images)} frames", len(bundle.manifest.units))
    quantised = quantise_units(bundle, images, settings.method, together=settings.together, progress=done)
    contents = {q.unit: q.content for q in quantised}
    draft = with_int8(bundle, contents)
    manifest = draft.manifest
    kept = [
        Kept(unit=u.name, precision=u.precision, reason="it has no products with weights")
        for u in manifest.filed
        if u.name not in contents
    ]
    max_drop = MAX_DROP[manifest.task] if settings.max_drop is None else settings.max_drop
    kept += hold_gate(draft, select, max_drop, begin)
    record = Quantisation(
        method=settings.method,
        frames=len(images),
        data=frames.data,
        sha256=frames.part.sha256,
        max_drop=max_drop,
        kept=tuple(kept),
    )
    gone = [k.unit for k in kept]
    units = tuple(without_int8(u, gone) for u in manifest.units)
    _remove({v.file for u in manifest.units for v in u.files} - {v.file for u in units for v in u.files}, bundle.path)
    remarks = [f"{k.unit} stays in {k.precision}: {k.reason}" for k in kept]
    if len(gone) == len(manifest.filed):
        remarks.append("no unit is left in int8; give the gate more with --max-drop, or try another --int8-method")
    return Int8Result(msgspec.structs.replace(manifest, units=units, quantisation=record), tuple(remarks))


def with_int8(bundle: Bundle, contents: Mapping[str, bytes]) -> Bundle:
    """The bundle with these units also in int8, and in int8-fp16 where they are there in fp16.

    Args:
        bundle: whose folder takes the files.
        contents: by unit its int8 graph.
    """
    from toolkit.export.half import to_half

    units = []
    for unit in bundle.manifest.units:
        made: list[Variant] = []
        content = contents.get(unit.name)
        if content is not None:
            made.append(_write(bundle.path, unit, "int8", content))
            if "fp16" in [v.precision for v in unit.files]:
                made.append(_write(bundle.path, unit, "int8-fp16", to_half(content, unit.name)))
        others = tuple(v for v in unit.variants if v.precision not in INT8)
        units.append(msgspec.structs.replace(unit, variants=(*others, *made)))
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, units=followed(units)))


def _write(folder: Path, unit: Unit, precision: Precision, content: bytes) -> Variant:
    file = folder / UNITS / f"{unit.name}.{precision}.onnx"
    write_file(file, content)
    return describe_variant(file, precision)


def _remove(files: set[str], folder: Path) -> None:
    for file in files:
        with storage(folder):
            (folder / file).unlink()
