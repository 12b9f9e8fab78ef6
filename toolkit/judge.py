"""What a bundle's exits are worth and how sure they may be, from every exit's output on held-out frames."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from calibration.beliefs import LEAST, ExitBeliefs, HeldOut, add_reliability, learn_beliefs
from calibration.confidence import fit_temperature
from calibration.gate import INT8
from calibration.outputs import collect_outputs
from calibration.quality import accuracy, mean_absolute_error
from jetson.beliefs import Joint
from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.errors import DataError
from jetson.manifest import Exit, Manifest, Precision, Quality
from jetson.samples import Samples
from toolkit.bundle_folder import write_samples
from toolkit.data.dataset import DataSet, Part
from toolkit.export.units import Step

if TYPE_CHECKING:
    from toolkit.models.config import ModelConfig

JUDGED = ("select", "test")
"""The roles that an exit's quality is told of: the scheduler believes the first, reports show the other too."""


def check_fits(data: DataSet, spec: str, model: Manifest | ModelConfig, what: str) -> None:
    """Hold a data set against what a model was made for.

    Args:
        data: the data.
        spec: what messages call it.
        model: says the task, the number of outputs and the classes.
        what: what messages call the model.

    Raises:
        DataError: another task, another number of outputs, other classes, or the same ones in another order.
    """
    if data.task != model.task or data.outputs != model.outputs:
        raise DataError(
            f"the data {spec} ({data.task}, {data.outputs} outputs) does not fit the {what} ({model.task}, "
            f"{model.outputs} outputs)"
        )
    if data.classes == model.classes or data.classes is None or model.classes is None:
        return
    strange = sorted(set(data.classes) ^ set(model.classes))
    if strange:
        raise DataError(f"the classes of {spec} are not the {what}'s: {strange[0]} is in one of them only")
    raise DataError(f"the classes of {spec} are the {what}'s in another order; name the folders so that they sort")


def judge(
    bundle: Bundle, parts: Mapping[str, Part], most: int, begin: Step, *, strict: bool
) -> tuple[Manifest, tuple[str, ...]]:
    """Run the units over `fit`, `select` and `test` and write down what follows; what they answered goes to the folder.

    Args:
        bundle: its units, and the folder that takes the samples.
        parts: by role.
        most: at most so many frames of each.
        begin: told of the progress.
        strict: too few frames are an error; else confidence stays the softmax at a temperature, and a remark says so.

    Returns:
        The manifest with quality, temperature, posterior or interval, reliability, the joint table and the samples;
        and remarks.

    Raises:
        DataError: the data does not fit the model, or is too little and `strict`.
        StorageError: the samples cannot be written.
    """
    manifest = bundle.manifest
    held = {role: parts[role].head(most) for role in ("fit", *JUDGED)}
    found = {role: _held_out(bundle, part, None, begin, f"{role} frames") for role, part in held.items()}
    beliefs, joint, remarks = _beliefs(manifest, found, strict)
    variants: dict[Precision, list[tuple[Quality, ...]]] = {}
    for precision in (p for p in INT8 if p in manifest.offered):
        chosen = manifest.nearest(precision)
        told = {r: _held_out(bundle, held[r], chosen, begin, f"{r} frames in {precision}") for r in JUDGED}
        variants[precision] = [_qualities(manifest, told, k) for k in range(len(manifest.exits))]
    exits = tuple(
        _exit(e, _qualities(manifest, found, k), beliefs[k], {p: q[k] for p, q in variants.items()})
        for k, e in enumerate(manifest.exits)
    )
    temperatures = [b.temperature for b in beliefs if b.temperature is not None] or None
    samples = {role: Samples.of(h.outputs, h.targets, temperatures) for role, h in found.items()}
    stated = write_samples(bundle.path, samples)
    return msgspec.structs.replace(manifest, exits=exits, joint=joint, samples=stated), remarks


def _beliefs(
    manifest: Manifest, found: Mapping[str, HeldOut], strict: bool
) -> tuple[Sequence[ExitBeliefs], Joint | None, tuple[str, ...]]:
    fit, select = found["fit"], found["select"]
    n = min(len(fit.outputs), len(select.outputs))
    if n >= LEAST or strict:
        beliefs = add_reliability(learn_beliefs(manifest.task, fit, select), found["test"])
        return beliefs.exits, beliefs.joint, ()
    remark = (
        f"{n} frames to fit and to select on are too few to learn how sure an answer may be, it takes {LEAST} of "
        "each: confidence is the softmax alone; with more data, offramp calibrate BUNDLE --data DATA"
    )
    temperatures: list[float | None] = [None] * len(manifest.exits)
    if manifest.task == "classification":
        labels = fit.targets.astype(np.int64)
        temperatures = [fit_temperature(fit.outputs[:, k], labels) for k in range(len(manifest.exits))]
    return [ExitBeliefs(t, None, None, ()) for t in temperatures], None, (remark,)


def _held_out(bundle: Bundle, part: Part, precisions: Sequence[Precision] | None, begin: Step, what: str) -> HeldOut:
    if part.targets is None:
        raise DataError(f"the {what} have no targets, so no exit can be judged on them")
    own = precisions or [u.precision for u in bundle.manifest.units]
    with contextlib.closing(load_engines(bundle, precisions=own)) as engines:
        outputs = collect_outputs(bundle.manifest, engines, part.images, begin(f"exits on {what}", len(part.images)))
    bad = int((~np.isfinite(outputs).all(axis=(1, 2))).sum())
    if bad:
        raise DataError(
            f"{bad} of {len(outputs)} {what} are answered with NaN or infinite values; look for broken images among "
            "them, or for weights that overflow, and mend those first"
        )
    return HeldOut(outputs, part.targets)


def _qualities(manifest: Manifest, found: Mapping[str, HeldOut], exit_: int) -> tuple[Quality, ...]:
    measure = accuracy if manifest.task == "classification" else mean_absolute_error
    return tuple(
        measure(found[role].outputs[:, exit_], found[role].targets, role)  # type: ignore[operator, arg-type]
        for role in JUDGED
    )


def _exit(
    exit_: Exit, quality: tuple[Quality, ...], belief: ExitBeliefs, variants: dict[Precision, tuple[Quality, ...]]
) -> Exit:
    return msgspec.structs.replace(
        exit_,
        quality=quality,
        temperature=belief.temperature,
        posterior=belief.posterior,
        interval=belief.interval,
        reliability=belief.reliability,
        variant_quality=variants,
    )
