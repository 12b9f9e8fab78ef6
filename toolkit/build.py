"""The pipeline from a checkpoint to a bundle: cut, export, hold against PyTorch, judge each exit, write."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jetson import __version__
from jetson.bundle import MANIFEST, Bundle
from jetson.errors import BadInput, BundleError, DataError, EngineError, MissingExtra, ParityError, missing_extra
from jetson.files import new_folder, storage, write_file
from jetson.manifest import FORMAT, DataRecord, Exit, Manifest, Parity, Precision, Provenance, Quality, Unit
from toolkit.export.units import UNITS, Step, without, write_units

if TYPE_CHECKING:
    from toolkit.data import DataSet
    from toolkit.data.dataset import Part
    from toolkit.export.cut import ExitPlan
    from toolkit.models.checkpoint import Checkpoint

REVISION = 2
"""Raised whenever the pipeline makes another bundle of the same input."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
"""What a build can make."""


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
    """Which to make, fp32 among them; when None those of `PRECISIONS` that stay within their tolerance."""
    command: str = ""


@dataclass(frozen=True)
class BuildResult:
    """What a build did."""

    bundle: Bundle
    exported: tuple[str, ...]
    reused: tuple[str, ...]
    up_to_date: bool
    remarks: tuple[str, ...] = ()
    """What the user should know: a precision that was left out, a unit that TensorRT will not take, and why."""


def build(settings: BuildSettings, step: Step | None = None) -> BuildResult:
    """Make a bundle, or find that the one in place is it.

    Raises:
        ModelError: the checkpoint cannot be read.
        DataError: the data is missing, does not fit the model, or has changed since training.
        ParityError: a unit does not compute what PyTorch computes; the old bundle stays in place.
        StorageError: the bundle cannot be written; nothing is left half written.
    """
    begin = step or (lambda _title, _parts: lambda: None)
    if min(settings.parity_frames, settings.quality_frames) < 1:
        raise BadInput("parity and quality need at least one frame each")
    wanted = settings.precisions or PRECISIONS
    if "fp32" not in wanted or not set(wanted) <= set(PRECISIONS):
        raise BadInput(f"cannot build {', '.join(wanted)}: a bundle is made in fp32, and in fp16 beside it")
    try:
        from toolkit.export.cut import cut
        from toolkit.models.checkpoint import load_checkpoint
    except ImportError as error:
        raise missing_extra(error.name or "torch", "host") from None

    old = _old_bundle(settings.out)
    checkpoint = load_checkpoint(settings.checkpoint)
    data, record = _data(settings, checkpoint)
    key = _key(settings, checkpoint, record)
    if old is not None and old.manifest.build == key:
        return BuildResult(old, (), tuple(u.name for u in old.manifest.units), up_to_date=True)
    _refuse_to_lose_files(settings.out)
    plans, exits = cut(checkpoint.model)
    with new_folder(settings.out) as folder:
        units, reused = write_units(plans, old, folder, wanted, begin)
        draft = _draft(checkpoint, units, exits, settings, record, key)
        final, remarks = _judge(checkpoint, Bundle(folder, draft), data, settings, begin)
        write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(final), indent=1) + b"\n")
    exported = tuple(u.name for u in units if u.name not in reused)
    bundle = Bundle.open(settings.out)
    remarks += _preflight(bundle, begin)
    return BuildResult(bundle, exported, reused, up_to_date=False, remarks=remarks)


def _preflight(bundle: Bundle, begin: Step) -> tuple[str, ...]:
    """What TensorRT's parser says of the units, so that it is known before anything goes to a board."""
    from jetson.engines.tensorrt.preflight import preflight

    precisions = bundle.manifest.precisions
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


def _old_bundle(out: Path) -> Bundle | None:
    """The bundle in place; None when there is none, or a damaged one that is to be replaced."""
    with storage(out, "read"):
        if not out.exists():
            return None
        if not out.is_dir() or (any(out.iterdir()) and not _has_our_manifest(out)):
            raise BadInput(f"{out} is there already and is no bundle; choose another --out or remove it")
    try:
        return Bundle.open(out)
    except BundleError:
        return None


def _has_our_manifest(out: Path) -> bool:
    """Whether there is a manifest and it is, or was before it was damaged, ours: others use that name too."""
    file = out / MANIFEST
    return file.is_file() and FORMAT.encode() in file.read_bytes()


def _refuse_to_lose_files(out: Path) -> None:
    """The folder is replaced as a whole; what is no part of a bundle would be lost."""
    with storage(out, "read"):
        foreign = sorted(f.name for f in out.iterdir() if f.name not in (MANIFEST, UNITS)) if out.exists() else []
    if foreign:
        raise BadInput(f"{out} holds other files than a bundle's ({foreign[0]}); choose another --out or move them")


def _data(settings: BuildSettings, checkpoint: Checkpoint) -> tuple[DataSet, DataRecord]:
    from toolkit import data as data_sets

    training = checkpoint.training
    spec = settings.data or (training.data_spec if training else None)
    if spec is None:
        raise BadInput("this checkpoint was not trained here; name held-out data with --data")
    own = training is not None and spec == training.data_spec
    data = data_sets.load(spec)
    record = data.record()
    config = checkpoint.model.config
    if data.task != config.task or data.outputs != config.outputs:
        raise DataError(
            f"the data {spec} ({data.task}, {data.outputs} outputs) does not fit the checkpoint "
            f"({config.task}, {config.outputs} outputs)"
        )
    if training and own and record != training.data:
        raise DataError(f"the data {spec} has changed since the checkpoint was trained; its splits cannot be trusted")
    return data, record


def _key(settings: BuildSettings, checkpoint: Checkpoint, record: DataRecord) -> str:
    import onnxruntime
    import torch

    facts = [REVISION, __version__, torch.__version__, onnxruntime.__version__, checkpoint.digest]
    facts += [msgspec.to_builtins(record), settings.parity_frames, settings.quality_frames]
    facts += [settings.precisions]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _draft(
    checkpoint: Checkpoint,
    units: list[Unit],
    exits: list[ExitPlan],
    settings: BuildSettings,
    record: DataRecord,
    key: str,
) -> Manifest:
    import onnx
    import onnxruntime
    import torch
    import transformers

    config = checkpoint.model.config
    versions = {"offramp": __version__}
    versions |= {m.__name__: str(m.__version__) for m in (torch, transformers, onnx, onnxruntime)}
    return Manifest(
        task=config.task,
        classes=config.classes,
        outputs=config.outputs,
        preprocessing=config.preprocessing,
        units=tuple(units),
        exits=tuple(
            Exit(name=e.name, layer=e.layer, architecture=e.architecture, units=e.units, quality=(), max_difference=0.0)
            for e in exits
        ),
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


def _judge(
    checkpoint: Checkpoint, bundle: Bundle, data: DataSet, settings: BuildSettings, begin: Step
) -> tuple[Manifest, tuple[str, ...]]:
    """Parity on calibration frames, then quality and temperature of every exit on held-out frames."""
    from calibration.confidence import fit_temperature
    from calibration.outputs import collect_outputs
    from jetson.engines import load_engines
    from toolkit.export.parity import TOLERANCES, check_parity

    manifest = bundle.manifest
    frames = data.calibration.head(settings.parity_frames)

    def compare(precision: Precision) -> list[float]:
        with contextlib.closing(load_engines(bundle, precisions=manifest.nearest(precision))) as engines:
            done = begin(f"parity with PyTorch in {precision}", len(frames.images))
            return check_parity(checkpoint.model, bundle, engines, frames.images, done)

    worst = compare("fp32")
    differences, units, remarks = _compare_variants(manifest, compare, bundle.path, settings)
    with contextlib.closing(load_engines(bundle)) as engines:
        parts = {n: getattr(data, n).head(settings.quality_frames) for n in ("calibration", "test")}
        outputs = {
            n: collect_outputs(manifest, engines, p.images, begin(f"quality on {n} data", len(p.images)))
            for n, p in parts.items()
        }
    exits = []
    for k, exit_ in enumerate(manifest.exits):
        temperature = None
        if manifest.task == "classification":
            temperature = fit_temperature(outputs["calibration"][:, k], parts["calibration"].targets)
        exits.append(
            msgspec.structs.replace(
                exit_,
                quality=tuple(_quality(manifest, outputs[n][:, k], p, n) for n, p in parts.items()),
                temperature=temperature,
                max_difference=worst[k],
                differences={p: found[k] for p, found in differences.items()},
            )
        )
    parity = Parity(
        frames=len(frames.images),
        tolerance=TOLERANCES["fp32"],
        split="calibration",
        tolerances={p: TOLERANCES[p] for p in differences},
    )
    return msgspec.structs.replace(manifest, units=units, exits=tuple(exits), parity=parity), remarks


def _compare_variants(
    manifest: Manifest, compare: Callable[[Precision], list[float]], folder: Path, settings: BuildSettings
) -> tuple[dict[Precision, list[float]], tuple[Unit, ...], tuple[str, ...]]:
    """Hold the further precisions against PyTorch; one that strays too far is left out unless it was asked for."""
    differences: dict[Precision, list[float]] = {}
    units, remarks = manifest.units, []
    for precision in manifest.precisions[1:]:
        try:
            differences[precision] = compare(precision)
        except ParityError as error:
            if settings.precisions is not None:
                raise
            units = without(units, precision, folder)
            remarks.append(f"{precision} was left out: {str(error).removesuffix('; nothing was built')}")
    return differences, units, tuple(remarks)


def _quality(manifest: Manifest, outputs: object, part: Part, name: str) -> Quality:
    from calibration.quality import accuracy, mean_absolute_error

    measure = accuracy if manifest.task == "classification" else mean_absolute_error
    return measure(outputs, part.targets, name)  # type: ignore[operator, arg-type]
