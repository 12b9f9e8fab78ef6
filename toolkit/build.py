"""The pipeline from a checkpoint to a bundle: cut, export, hold against PyTorch, judge each exit, write."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from calibration.gate import INT8
from jetson import __version__
from jetson.bundle import Bundle
from jetson.errors import BadInput, DataError, EngineError, MissingExtra, missing_extra
from jetson.files import new_folder
from jetson.manifest import DataRecord, Exit, Manifest, Parity, Precision, Provenance, Unit
from jetson.quiet import import_onnxruntime
from toolkit.bundle_folder import old_bundle, refuse_to_lose_files, write_manifest
from toolkit.classes import advice, in_classes_of, named_by
from toolkit.cuts import Cuts, CutSettings, cut_model, only
from toolkit.data.roles import record as role_record
from toolkit.data.roles import roles
from toolkit.export.units import Step, write_units
from toolkit.judge import check_fits, judge
from toolkit.quantise import CalibrationFrames, Int8Settings, calibration_frames, quantise_bundle

if TYPE_CHECKING:
    from toolkit.data import DataSet
    from toolkit.models.checkpoint import Checkpoint

REVISION = 6
"""Raised whenever the pipeline makes another bundle of the same input."""
DEFAULT: tuple[Precision, ...] = ("fp32", "fp16")
"""What a build makes when nobody says; fp16 where it stays close to PyTorch."""


@dataclass(frozen=True)
class BuildSettings:
    """What to build and how."""

    checkpoint: Path
    out: Path
    data: str | None = None
    """Data spec; the checkpoint's own when None."""
    parity_frames: int = 100
    quality_frames: int = 2000
    """At most so many held-out frames judge an exit, per split."""
    precisions: tuple[Precision, ...] | None = None
    """Which to make beside fp32; `DEFAULT` when None. int8 brings fp16 and int8-fp16 along where they stay close."""
    int8: Int8Settings | None = None
    """How int8 is made, when it is; the settings' own defaults when None."""
    cut: CutSettings = field(default_factory=CutSettings)
    """Which exits, where to cut, and which branches to fuse."""
    code: Path | None = None
    """Of a checkpoint from elsewhere whose backbone is Python code: that code."""
    command: str = ""


@dataclass(frozen=True)
class BuildResult:
    """What a build did."""

    bundle: Bundle
    exported: tuple[str, ...]
    reused: tuple[str, ...]
    up_to_date: bool
    remarks: tuple[str, ...] = ()
    """What the user should know: where the model was cut and what was fused, a precision that was left out, a unit that
    TensorRT will not take, and why."""


def build(settings: BuildSettings, step: Step | None = None) -> BuildResult:
    """Make a bundle, or find that the one in place is it.

    Raises:
        ModelError: the checkpoint cannot be read.
        DataError: the data is missing, does not fit the model, has changed since training, or int8 cannot be made
            from it.
        ParityError: a unit does not compute what PyTorch computes; the old bundle stays in place.
        StorageError: the bundle cannot be written; nothing is left half written.
    """
    begin = step or (lambda _title, _parts: lambda: None)
    if min(settings.parity_frames, settings.quality_frames) < 1:
        raise BadInput("parity and quality need at least one frame each")
    wanted = settings.precisions or DEFAULT
    quantised = not set(INT8).isdisjoint(wanted)
    if settings.int8 is not None and not quantised:
        raise BadInput("--calibration, --int8-method and --max-drop say how int8 is made: give --precision int8 too")
    int8 = settings.int8 or Int8Settings()
    int8.check()
    try:
        from toolkit.compare import compare
        from toolkit.models.checkpoint import load_checkpoint, trust_code
    except ImportError as error:
        raise missing_extra(error.name or "torch", "host") from None

    old = old_bundle(settings.out)
    if settings.code is not None:
        trust_code(settings.checkpoint, settings.code)
    checkpoint = load_checkpoint(settings.checkpoint)
    checkpoint = replace(checkpoint, model=only(checkpoint.model, settings.cut.exits))
    data, spec, known = _data(settings, checkpoint)
    config = checkpoint.model.config
    record = data.record()
    parts = {k: p.for_channels(config.preprocessing.channels) for k, p in roles(data).items()}
    frames = None
    if quantised:
        frames = calibration_frames(int8, parts, data.name, spec, config.preprocessing.channels)
    provenance = msgspec.structs.replace(record, splits=record.splits | role_record(data, parts).splits)
    key = _key(settings, checkpoint, provenance, int8, frames)
    if old is not None and old.manifest.build == key:
        return BuildResult(old, (), tuple(u.name for u in old.manifest.units), up_to_date=True)
    refuse_to_lose_files(settings.out, "choose another --out or move them")
    facts = frames.check(config.preprocessing, config.classes) if frames is not None else None
    cuts = cut_model(checkpoint.model, settings.cut, old)
    with new_folder(settings.out) as folder:
        floats: tuple[Precision, ...] = DEFAULT if quantised or "fp16" in wanted else ("fp32",)
        units, reused = write_units(cuts.plans, old, folder, floats, begin)
        draft = _draft(checkpoint, units, cuts, settings, provenance, key)
        look = data.calibration.for_channels(config.preprocessing.channels)
        manifest, remarks = compare(
            checkpoint, Bundle(folder, draft), look.head(settings.parity_frames), settings.precisions or (), begin
        )
        if frames is not None and facts is not None:
            select = parts["select"].head(settings.quality_frames)
            made = quantise_bundle(Bundle(folder, manifest), frames, select, int8, begin)
            manifest = made.manifest
            remarks += made.remarks + tuple(f"{frames.where}: {remark}" for remark in facts.remarks)
        manifest, said = judge(Bundle(folder, manifest), parts, settings.quality_frames, begin, strict=False)
        write_manifest(folder, manifest)
    exported = tuple(u.name for u in units if u.name not in reused)
    bundle = Bundle.open(settings.out, verify=False)
    remarks = known + cuts.remarks + remarks + said + _undone(old) + _preflight(bundle, begin)
    return BuildResult(bundle, exported, reused, up_to_date=False, remarks=remarks)


def _undone(old: Bundle | None) -> tuple[str, ...]:
    """What `offramp calibrate` had added to the bundle that stood there; a build follows from its own input alone."""
    if old is None:
        return ()
    said = []
    if old.manifest.provenance.calibrated is not None:
        name = old.manifest.provenance.calibrated.name
        said.append(f"what offramp calibrate had learnt from {name} is gone; to have it back, give it --data again")
    if old.manifest.plans:
        engines = " and ".join(old.manifest.plans)
        said.append(f"the plan of precisions for {engines} is gone; to have it back: offramp calibrate --profile")
    return tuple(said)


def _preflight(bundle: Bundle, begin: Step) -> tuple[str, ...]:
    """What TensorRT's parser says of the units, so that it is known before anything goes to a board."""
    from jetson.engines.tensorrt.preflight import preflight

    precisions = bundle.manifest.offered
    done = begin("TensorRT's parser", 1)
    try:
        findings = preflight(bundle, precisions)
    except MissingExtra:
        return ("TensorRT's parser was not asked, it is not installed here: pip install 'offramp[rtx]'",)
    except EngineError as error:
        return (f"TensorRT's parser was not asked: {error}",)
    done()
    if not findings:
        return (f"TensorRT's parser takes every unit in {' and '.join(precisions)}",)
    return tuple(f"TensorRT will not take {finding}" for finding in findings)


def _data(settings: BuildSettings, checkpoint: Checkpoint) -> tuple[DataSet, str, tuple[str, ...]]:
    """The data, how it is named, and what the user should know; a model without names for its classes gets them."""
    from toolkit import data as data_sets

    training = checkpoint.training
    spec = settings.data or (training.data_spec if training else None)
    if spec is None:
        raise BadInput(
            "this checkpoint was not trained here: name labelled images that it has not seen with --data, a folder "
            "PATH/CLASS/... with folders named as the classes; they judge the exits and are held against PyTorch"
        )
    data = data_sets.load(spec)
    if training and spec == training.data_spec and data.record() != training.data:
        check_fits(data, spec, checkpoint.model.config, "checkpoint")
        raise DataError(f"the data {spec} has changed since the checkpoint was trained; its splits cannot be trusted")
    config, said = named_by(checkpoint.model.config, data, spec) if training is None else (checkpoint.model.config, ())
    try:
        data, told = in_classes_of(data, spec, config, "checkpoint")
    except DataError as error:
        if training is None and data.task == config.task:
            raise advice(spec, settings.checkpoint, error) from None
        raise
    checkpoint.model.config = config
    untrained = [e.name for e in checkpoint.model.exits if e.name in config.untrained]
    if untrained:
        told += (f"{', '.join(untrained)}: untrained, with random weights; what they answer is a guess",)
    return data, spec, said + told


def _key(
    settings: BuildSettings,
    checkpoint: Checkpoint,
    record: DataRecord,
    int8: Int8Settings,
    frames: CalibrationFrames | None,
) -> str:
    import torch

    from calibration.int8 import graph

    asked = None if settings.precisions is None else sorted({*settings.precisions, "fp32"})
    versions = [__version__, torch.__version__, import_onnxruntime().__version__]
    facts = [REVISION, checkpoint.model.config.classes, *versions, checkpoint.digest]
    facts += [msgspec.to_builtins(record), settings.parity_frames, settings.quality_frames, asked, *settings.cut.facts]
    if frames is not None:
        facts += [graph.REVISION, int8, frames.data, frames.part.sha256]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _draft(
    checkpoint: Checkpoint,
    units: list[Unit],
    cuts: Cuts,
    settings: BuildSettings,
    record: DataRecord,
    key: str,
) -> Manifest:
    import onnx
    import torch
    import transformers

    config = checkpoint.model.config
    versions = {"offramp": __version__}
    versions |= {m.__name__: str(m.__version__) for m in (torch, transformers, onnx, import_onnxruntime())}
    return Manifest(
        task=config.task,
        classes=config.classes,
        outputs=config.outputs,
        preprocessing=config.preprocessing,
        units=tuple(units),
        exits=tuple(
            Exit(name=e.name, layer=e.layer, architecture=e.architecture, units=e.units, quality=(), max_difference=0.0)
            for e in cuts.exits
        ),
        cutting=cuts.record,
        parity=Parity(frames=0, tolerance=0.0, split="calibration"),
        build=key,
        provenance=Provenance(
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            command=settings.command,
            versions=versions,
            checkpoint=checkpoint.digest,
            data=record,
        ),
    )
