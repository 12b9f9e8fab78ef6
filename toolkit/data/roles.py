"""Which images may do what: learn, be fitted to, choose and report are four roles, and no image has two of them.

`train` is what the weights are learnt from, `fit` what calibration is fitted to (temperatures, ranges of int8),
`select` what decides (the quality the scheduler believes, the gate of int8), and `test` is only reported. A data set's
calibration part is cut into `fit` and `select`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jetson.errors import DataError
from jetson.manifest import DataRecord, Split
from toolkit.data.dataset import DataSet, Part

ROLES = ("train", "fit", "select", "test")
TWO_PARTS = {"calibration": ("fit", "select")}
"""Parts that hold two roles; version 2 of the manifest knew them only together."""


def roles(data: DataSet) -> dict[str, Part]:
    """A data set by role.

    Raises:
        DataError: its calibration part cannot be cut in two.
    """
    fit, select = halve(data.calibration, data.name)
    return {"train": data.train, "fit": fit, "select": select, "test": data.test}


def halve(part: Part, where: str) -> tuple[Part, Part]:
    """Every other image, class by class, goes into the second half; copies of one image stay together.

    Raises:
        DataError: fewer than two different images.
    """
    labels = part.targets if part.targets is not None and part.targets.ndim == 1 else np.zeros(len(part), np.int64)
    side: dict[bytes, int] = {}
    turn: dict[int, int] = {}
    halves: tuple[list[int], list[int]] = ([], [])
    for index, (digest, label) in enumerate(zip(part.digests, labels.tolist(), strict=True)):
        if digest not in side:
            # Classes take turns in which half gets their first image, so that the halves stay of one size.
            side[digest] = turn[label] = (turn[label] + 1 if label in turn else len(turn)) % 2
        halves[side[digest]].append(index)
    if not halves[1]:
        raise DataError(
            f"{where}: the calibration part has {len(part)} images and {len(side)} different ones; it is cut into one "
            "half to fit and one to select, so it needs more"
        )
    return part.pick(halves[0]), part.pick(halves[1])


def record(data: DataSet, parts: Mapping[str, Part]) -> DataRecord:
    """What the manifest keeps: the roles' sizes and hashes."""
    return DataRecord(name=data.name, splits={k: Split(n=len(p), sha256=p.sha256) for k, p in parts.items()})


def refuse_other_roles(new: DataRecord, old: DataRecord | None, where: str) -> None:
    """Images that had one role in a bundle must not get another.

    Args:
        new: by role, of the data that is to be used now.
        old: of what the bundle was made with; roles or the parts of version 2.
        where: what messages call the new data.

    Raises:
        DataError: the same images, as a whole part, in two roles.
    """
    for role, split in new.splits.items():
        for before, other in (old.splits if old is not None else {}).items():
            if split.sha256 == other.sha256 and role not in TWO_PARTS.get(before, (before,)):
                raise DataError(
                    f"{where}: its {role} images are the {before} images of this bundle; what has one role cannot have "
                    "another, name other data"
                )


def refuse_shared(part: Part, others: Mapping[str, Part], where: str) -> None:
    """The images of `part` must not have another role already.

    Raises:
        DataError: some of them are also in one of `others`.
    """
    found = set(part.digests)
    for role, other in others.items():
        if shared := len(found.intersection(other.digests)):
            raise DataError(
                f"{where}: {shared} of its {len(found)} images are {role} images of this model too; calibrate with "
                "images that have no other role"
            )
