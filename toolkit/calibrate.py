"""`calibrate`: what a bundle believes about its exits, learnt anew from other data, without exporting anything."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from calibration.beliefs import LEAST
from calibration.gate import INT8
from jetson.bundle import Bundle
from jetson.errors import BadInput, DataError
from jetson.files import new_folder, storage
from jetson.manifest import DataRecord, Manifest, Precision, Split
from jetson.profiling.profile import LatencyProfile
from toolkit import data as data_sets
from toolkit.bundle_folder import refuse_to_lose_files, write_manifest
from toolkit.classes import in_classes_of
from toolkit.data.dataset import Part
from toolkit.data.roles import record, refuse_other_roles, roles
from toolkit.export.units import Step
from toolkit.gate import still_held
from toolkit.judge import judge
from toolkit.plan import plans, plans_left
from toolkit.quantise import CalibrationFrames, Int8Settings, calibration_frames, quantise_bundle


@dataclass(frozen=True)
class CalibrateSettings:
    """What to calibrate and with what."""

    bundle: Path
    data: str | None = None
    """Data spec; None leaves the beliefs as they are."""
    quality_frames: int = 2000
    """At most so many frames of each role."""
    precisions: tuple[Precision, ...] = ()
    """int8 or int8-fp16: put the units into int8 anew; without one they stay as they are."""
    int8: Int8Settings | None = None
    """How, when they are; the settings' own defaults when None."""
    profiles: Sequence[Path] = ()
    """Latencies that decide which precision each unit runs in."""


@dataclass(frozen=True)
class CalibrateResult:
    """The bundle as it is now, and what the user should know."""

    bundle: Bundle
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Material:
    """Data that was looked at before anything is written."""

    parts: dict[str, Part]
    record: DataRecord
    frames: CalibrationFrames | None
    """For the ranges of int8, if that is asked for."""
    remarks: tuple[str, ...]


def calibrate(settings: CalibrateSettings, begin: Step) -> CalibrateResult:
    """Replace what a bundle believes; its units stay as they are, but for int8 when that is asked for.

    Raises:
        BundleError, ProfileError: a damaged bundle or profile, or one that does not belong to it.
        BadInput: there is nothing to do, or what is asked for cannot be done together.
        DataError: the data does not fit the model, is too little, or had another role in this bundle.
        StorageError: the bundle cannot be written; the old one stays.
    """
    bundle = Bundle.open(settings.bundle)
    _check(settings, bundle.manifest)
    refuse_to_lose_files(settings.bundle, "move them")
    manifest = bundle.manifest
    measured = [LatencyProfile.load(file) for file in settings.profiles]
    found, remarks = plans(manifest, measured, settings.profiles)
    manifest = msgspec.structs.replace(manifest, plans=manifest.plans | found)
    material = _look_at(settings.data, settings, manifest) if settings.data is not None else None
    with new_folder(settings.bundle) as folder:
        kept = [v.file for u in manifest.units for v in u.files]
        if material is None:
            kept += [s.file for s in manifest.samples.values()]
        _copy(bundle.path, folder, kept)
        if material is not None:
            manifest, said = _learn(Bundle(folder, manifest), material, settings, begin)
            remarks += said
        manifest = msgspec.structs.replace(manifest, build=_key(bundle.manifest, manifest))
        write_manifest(folder, manifest)
    return CalibrateResult(Bundle.open(settings.bundle, verify=False), remarks)


def _check(settings: CalibrateSettings, manifest: Manifest) -> None:
    if settings.data is None and not settings.profiles:
        raise BadInput("nothing to do: give --data to calibrate with, or --profile to choose precisions by")
    if settings.quality_frames < LEAST:
        raise BadInput(f"--quality-frames {settings.quality_frames}: to learn how sure an answer may be takes {LEAST}")
    if not set(settings.precisions) <= set(INT8):
        raise BadInput(f"--precision: calibrate makes {' and '.join(INT8)} only; build makes the others")
    if settings.int8 is not None:
        if not settings.precisions:
            raise BadInput(
                "--calibration, --int8-method and --max-drop say how int8 is made: give --precision int8 too"
            )
        settings.int8.check()
    if settings.precisions and settings.data is None:
        raise BadInput("int8 needs data to hold every exit against: give --data")
    if settings.precisions and settings.profiles:
        raise BadInput(
            "--precision makes the int8 units anew, and no profile speaks of them yet; calibrate, then measure with "
            "offramp profile, then calibrate with --profile"
        )
    if "int8-fp16" in settings.precisions and "fp16" not in manifest.offered:
        raise BadInput("int8-fp16 is int8 with the rest in fp16, and this bundle has no fp16; offramp build makes it")


def _look_at(spec: str, settings: CalibrateSettings, manifest: Manifest) -> _Material:
    data = data_sets.load(spec)
    data, said = in_classes_of(data, spec, manifest, "bundle")
    channels = manifest.preprocessing.channels
    parts = {k: p.for_channels(channels) for k, p in roles(data).items() if k != "train"}
    fit, select = len(parts["fit"]), len(parts["select"])
    if min(fit, select) < LEAST:
        raise DataError(
            f"{spec}: its calibration part has {fit + select} images, {fit} to fit and {select} to select on; it takes "
            f"{LEAST} of each to learn how sure an answer may be"
        )
    now = record(data, parts)
    _refuse_known({spec: now, f"{spec}, its calibration part": _as_fit(data.calibration)}, manifest)
    if not settings.precisions:
        return _Material(parts, now, None, said)
    frames = calibration_frames(settings.int8 or Int8Settings(), parts, data.name, spec, channels)
    _refuse_known({frames.where: _as_fit(frames.whole)}, manifest)
    facts = frames.check(manifest.preprocessing, manifest.classes)
    return _Material(parts, now, frames, said + tuple(f"{frames.where}: {remark}" for remark in facts.remarks))


def _as_fit(part: Part) -> DataRecord:
    """The part as one whole: a bundle knows what it was trained and tested on by the hash of all of it."""
    return DataRecord(name="", splits={"fit": Split(n=len(part), sha256=part.sha256)})


def _refuse_known(found: dict[str, DataRecord], manifest: Manifest) -> None:
    for where, splits in found.items():
        for before in (manifest.provenance.data, manifest.provenance.calibrated):
            refuse_other_roles(splits, before, where)


def _learn(
    bundle: Bundle, material: _Material, settings: CalibrateSettings, begin: Step
) -> tuple[Manifest, tuple[str, ...]]:
    manifest, remarks = bundle.manifest, material.remarks
    if material.frames is not None:
        select = material.parts["select"].head(settings.quality_frames)
        made = quantise_bundle(bundle, material.frames, select, settings.int8 or Int8Settings(), begin)
        left = plans_left(manifest, made.manifest)
        remarks += made.remarks + tuple(
            f"the plan of precisions for {name} is gone with the units it was measured with; measure these, then "
            "offramp calibrate --profile"
            for name in manifest.plans
            if name not in left
        )
        manifest = msgspec.structs.replace(made.manifest, plans=left)
    manifest, said = judge(Bundle(bundle.path, manifest), material.parts, settings.quality_frames, begin, strict=True)
    provenance = msgspec.structs.replace(manifest.provenance, calibrated=material.record)
    return msgspec.structs.replace(manifest, provenance=provenance), remarks + said + still_held(manifest)


def _copy(old: Path, new: Path, files: Sequence[str]) -> None:
    for file in files:
        target = new / file
        with storage(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old / file, target)


def _key(before: Manifest, now: Manifest) -> str:
    """Another one than the build's, so that the same `offramp build` makes its own bundle again."""
    said = msgspec.json.encode(msgspec.structs.replace(now, build=""))
    return hashlib.sha256(before.build.encode() + said).hexdigest()
