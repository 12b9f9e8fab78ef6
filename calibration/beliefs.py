"""All that a bundle believes about how sure its exits' answers may be, from every exit's output on held-out frames.

`fit` and `select` are two parts of the calibration data that share no frame: temperature, posterior and interval come
from the first, and what is said of them (reliability, the joint table) from the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from calibration.confidence import fit_temperature
from calibration.conformal import interval
from calibration.joint import joint
from calibration.posterior import fit_posteriors
from calibration.reliability import reliability
from jetson.beliefs import Interval, Joint, Posterior, Reliability
from jetson.confidence import believe
from jetson.errors import DataError
from jetson.manifest import Task

Array = npt.NDArray[np.float64]

LEAST = 32
"""Frames in `fit` and in `select`: with fewer, what is learnt says more of the frames than of the exits."""


@dataclass(frozen=True)
class HeldOut:
    """Frames that the model was not trained on, as the units answered them."""

    outputs: npt.NDArray[np.float32]
    """(n, exits, outputs): logits, or values in regression; what `collect_outputs` gives."""
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    """(n,) class numbers, or (n, outputs) values."""


@dataclass(frozen=True)
class ExitBeliefs:
    """What the manifest's record of an exit takes over, field by field."""

    temperature: float | None
    posterior: Posterior | None
    interval: Interval | None
    reliability: tuple[Reliability, ...]


@dataclass(frozen=True)
class Beliefs:
    """Of all exits, in their order."""

    exits: tuple[ExitBeliefs, ...]
    joint: Joint


def learn_beliefs(task: Task, fit: HeldOut, select: HeldOut) -> Beliefs:
    """Learn from one half of the calibration data and judge on the other.

    Args:
        task: decides what is learnt: temperature and posterior, or an interval.
        fit: at least `LEAST` frames, of at least two classes.
        select: as many, and none of them in `fit`.

    Returns:
        The beliefs; `reliability` holds one record, of `select`.

    Raises:
        DataError: too few frames or classes, a label that is no class, targets that do not fit, outputs that are no
            numbers; one line that says which part it is and what would help.
    """
    for held, split in ((fit, "fit"), (select, "select")):
        _check(task, held, split)
        if len(held.outputs) < LEAST:
            raise DataError(
                f"the {split} half of the calibration data has {len(held.outputs)} frames, too few to learn how sure "
                f"an answer may be; it needs {LEAST}, so bring more held-out data"
            )
    if fit.outputs.shape[1:] != select.outputs.shape[1:]:
        raise DataError("the fit and the select half are not answered by the same exits; run both through one bundle")
    return _learn_values(fit, select) if task == "regression" else _learn_classes(fit, select)


def add_reliability(beliefs: Beliefs, test: HeldOut, split: str = "test") -> Beliefs:
    """Say of further frames how far the stated probabilities hold; nothing else changes, and in regression nothing.

    Args:
        beliefs: from `learn_beliefs`.
        test: frames that nothing was learnt from, answered by the same exits.
        split: their name, kept in the record.

    Raises:
        DataError: no frames, a label that is no class, targets that do not fit, or outputs that are no numbers.
    """
    temperatures = [e.temperature for e in beliefs.exits if e.temperature is not None]
    _check("classification" if temperatures else "regression", test, split)
    if not temperatures:
        return beliefs
    records, _, _ = _judge(temperatures, [e.posterior for e in beliefs.exits], test, split)
    exits = [replace(e, reliability=(*e.reliability, r)) for e, r in zip(beliefs.exits, records, strict=True)]
    return replace(beliefs, exits=tuple(exits))


def _learn_values(fit: HeldOut, select: HeldOut) -> Beliefs:
    exits = range(fit.outputs.shape[1])
    targets = fit.targets.astype(np.float32)
    widths = [interval(fit.outputs[:, k], targets, "fit") for k in exits]
    outputs = select.outputs.astype(np.float64)
    errors = np.abs(outputs - select.targets[:, None]).mean(axis=2)
    return Beliefs(
        exits=tuple(ExitBeliefs(temperature=None, posterior=None, interval=w, reliability=()) for w in widths),
        joint=joint(outputs[:, :, 0], errors, "select"),
    )


def _learn_classes(fit: HeldOut, select: HeldOut) -> Beliefs:
    labels = fit.targets.astype(np.int64)
    if len(np.unique(labels)) < 2:
        raise DataError("the fit half of the calibration data has frames of one class only; mix the classes")
    exits = fit.outputs.shape[1]
    temperatures = [fit_temperature(fit.outputs[:, k], labels) for k in range(exits)]
    classes, _, said = _ask(fit.outputs, temperatures, [None] * exits)
    posteriors = fit_posteriors(said, classes, classes == labels[:, None])
    records, stated, right = _judge(temperatures, posteriors, select, "select")
    return Beliefs(
        exits=tuple(
            ExitBeliefs(temperature=t, posterior=p, interval=None, reliability=(r,))
            for t, p, r in zip(temperatures, posteriors, records, strict=True)
        ),
        joint=joint(stated, right.astype(np.float64), "select"),
    )


def _judge(
    temperatures: Sequence[float], posteriors: Sequence[Posterior | None], held: HeldOut, split: str
) -> tuple[list[Reliability], Array, npt.NDArray[np.bool_]]:
    """A record per exit; the posterior of each frame and exit with no answer in hand; whether the answer is right."""
    exits = len(temperatures)
    _, plain, _ = _ask(held.outputs, [1.0] * exits, [None] * exits)
    classes, stated, _ = _ask(held.outputs, temperatures, posteriors)
    right = classes == held.targets[:, None]
    return [reliability(*row, split) for row in zip(plain.T, stated.T, right.T, strict=True)], stated, right


def _ask(
    outputs: npt.NDArray[np.float32], temperatures: Sequence[float], posteriors: Sequence[Posterior | None]
) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """What the runtime would believe with no answer in hand: class, confidence and its logit, each (n, exits)."""
    ways = list(zip(temperatures, posteriors, strict=True))
    found = [[believe(o, t, p) for o, (t, p) in zip(frame, ways, strict=True)] for frame in outputs]
    classes = np.array([[b.class_index for b in frame] for frame in found])
    confidence = np.array([[b.confidence for b in frame] for frame in found])
    return classes, confidence, np.array([[b.logit for b in frame] for frame in found])


def _check(task: Task, held: HeldOut, split: str) -> None:
    """That outputs and targets are there, belong together and are numbers."""
    outputs, targets = held.outputs, held.targets
    if outputs.ndim != 3 or 0 in outputs.shape:
        raise DataError(f"the {split} part has outputs of shape {outputs.shape}; frames x exits x outputs are needed")
    n, _, width = outputs.shape
    wanted = (n,) if task == "classification" else (n, width)
    if targets.shape != wanted:
        raise DataError(f"the {split} part has targets of shape {targets.shape}; its outputs need {wanted}")
    bad = int((~np.isfinite(outputs).all(axis=(1, 2))).sum())
    if bad:
        raise DataError(
            f"{bad} of {n} frames of the {split} part are answered with NaN or infinite values; look for broken frames "
            "among them, or for weights that overflow, and mend those first"
        )
    if task == "classification" and (targets.min() < 0 or targets.max() >= width):
        raise DataError(f"the {split} part has labels outside 0..{width - 1}; they must be the model's own classes")
    if task == "regression" and not np.isfinite(targets).all():
        raise DataError(f"the {split} part has targets that are NaN or infinite; leave these frames out")
