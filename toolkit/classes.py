"""The classes of data and of a model, brought together by their names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from jetson.errors import DataError
from jetson.manifest import Manifest
from toolkit.data.dataset import DataSet, Part
from toolkit.data.names import are_numbers, renumbered
from toolkit.judge import check_fits

if TYPE_CHECKING:
    from toolkit.models.config import ModelConfig


def in_classes_of(
    data: DataSet, spec: str, model: Manifest | ModelConfig, what: str
) -> tuple[DataSet, tuple[str, ...]]:
    """The data with its targets numbered as the model numbers its classes, by their names.

    Args:
        data: may have the classes in another order, or only some of them.
        spec: what messages call it.
        model: says the task, the number of outputs and the classes.
        what: what messages call the model.

    Returns:
        The data, and what the user should know of it.

    Raises:
        DataError: another task, another number of outputs, or a class that the model does not have.
    """
    ours, theirs = data.classes, model.classes
    if ours is None or theirs is None or ours == theirs or not set(ours) <= set(theirs):
        check_fits(data, spec, model, what)
        return data, ()

    def numbered(part: Part) -> Part:
        return part if part.targets is None else Part(part.images, renumbered(part.targets, ours, theirs))

    found = replace(
        data,
        classes=theirs,
        outputs=len(theirs),
        train=numbered(data.train),
        calibration=numbered(data.calibration),
        test=numbered(data.test),
    )
    if len(ours) < len(theirs):
        said = f"{spec} has {len(ours)} of the {what}'s {len(theirs):,} classes: every exit is judged on these alone"
    else:
        said = f"the classes of {spec} are put in the order of the {what}'s"
    return found, (said,)


def named_by(config: ModelConfig, data: DataSet, spec: str) -> tuple[ModelConfig, tuple[str, ...]]:
    """A model whose classes have numbers for names, with the names of the data's in their place.

    Args:
        config: of a model that was not trained here.
        data: named in the order of the model's outputs, as far as anybody can tell.
        spec: what messages call it.

    Returns:
        The configuration, and what the user should know; the same one where the names are real, or as many as fit
        no class of the data.
    """
    names = config.classes
    if names is None or data.classes is None or len(names) != len(data.classes) or names == data.classes:
        return config, ()
    if not are_numbers(names):
        return config, ()
    shown = ", ".join(data.classes[:3]) + (", ..." if len(names) > 3 else "")
    said = (
        f"the model has numbers for names of its classes: output 0, 1, ... are taken to be the classes of {spec} in "
        f"order ({shown}); where that is wrong, offramp import --classes FILE names them"
    )
    return msgspec.structs.replace(config, classes=data.classes), (said,)


def advice(spec: str, checkpoint: object, error: DataError) -> DataError:
    """The error, and what to do about a model that was made for other classes."""
    return DataError(f"{error}; for other classes: offramp train --backbone {checkpoint} --data {spec} --out TRAINED")
