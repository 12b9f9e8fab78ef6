"""Are these frames fit to calibrate with? Ranges and temperatures from the wrong ones look like any others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError
from jetson.preprocessing import Images

FEWEST = 32
DISTINCT = 0.9
"""Least share of images that are no repetition of another one."""
CONSTANT = 0.01
"""Largest share of images without any variation: a covered lens happens, a broken reader does it all the time."""
CORRELATED = 0.2
"""Least correlation of neighbouring pixels, as the median over the images. The margins, measured on 32 images at a
time: handwritten digits of 8x8 have at least 0.50, digits strewn over 32x32 with sensor noise 0.60, clothes of 28x28
0.81, photographs of 32x32 0.86; uniform, Gaussian and salt noise has at most 0.07 at 8x8 and 0.01 at 32x32, and none at
224x224. Noise that was resized or smoothed since is not found."""
LOPSIDED = 10
"""A remark is made when the most frequent class has more than so many times the images of the least frequent one."""
LOOKED_AT = 512
"""Edge, in pixels, of the middle of an image in which neighbours are compared; more would only take longer."""
NAMED = 5
"""Classes that one remark names."""


@dataclass(frozen=True)
class CalibrationFacts:
    """What the frames are."""

    n: int
    distinct: int
    """Images that differ in content."""
    per_class: tuple[int, ...] | None
    """Images of each class, in the order of the classes; None in regression and where nothing is known."""
    remarks: tuple[str, ...] = ()
    """What is no error and worth a look; a sentence each."""


def check_calibration(
    images: Images, targets: npt.NDArray[Any] | None, classes: Sequence[str] | None, where: str
) -> CalibrationFacts:
    """Refuse frames that nothing can be learnt from. Every image is looked at once.

    Args:
        images: uint8 height x width x channels each; sizes may differ.
        targets: (n,) class numbers, or (n, outputs) values in regression; None when nothing is known of the frames.
        classes: their names; None in regression.
        where: what messages call the data: a path or a name.

    Raises:
        DataError: too few images, targets that are none, one class only, or images that repeat, are constant or are
            noise.
    """
    n = len(images)
    if n < FEWEST:
        raise DataError(
            f"{where}: {n} images are too few to calibrate with; give at least {FEWEST}, better 256 or more"
        )
    if targets is not None and len(targets) != n:
        raise DataError(f"{where}: {n} images but {len(targets)} targets; every image needs one")
    per_class = None
    if targets is not None:
        per_class = _check_targets(targets, None if classes is None else len(classes), where)
    distinct = _check_images(images, where)
    remarks = () if per_class is None or classes is None else _remarks(per_class, classes)
    return CalibrationFacts(n, distinct, per_class, remarks)


def _check_targets(targets: npt.NDArray[Any], classes: int | None, where: str) -> tuple[int, ...] | None:
    if classes is None:
        wrong = int((~np.isfinite(targets)).reshape(len(targets), -1).any(axis=1).sum())
        if wrong:
            raise DataError(f"{where}: {wrong} of {len(targets)} targets are NaN or infinite; correct or remove them")
        return None
    if targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
        raise DataError(
            f"{where}: labels are one whole number an image, these are {targets.dtype} of shape {targets.shape}; give "
            f"each image the number of its class, 0 to {classes - 1}"
        )
    outside = targets[(targets < 0) | (targets >= classes)]
    if len(outside):
        raise DataError(
            f"{where}: {len(outside)} labels lie outside 0..{classes - 1}, the first is {int(outside[0])}; correct "
            f"them, or give data of the model's {classes} classes"
        )
    counts = np.bincount(targets, minlength=classes)
    if np.count_nonzero(counts) == 1:
        raise DataError(
            f"{where}: all {len(targets)} images are of class {int(counts.argmax())}; give some of other classes too"
        )
    return tuple(map(int, counts))


def _check_images(images: Images, where: str) -> int:
    """How many differ."""
    n = len(images)
    digests = set()
    likeness = []
    for image in images:
        digests.add(hashlib.sha256(f"{image.shape} {image.dtype} ".encode() + image.tobytes()).digest())
        if (found := neighbours(image)) is not None:
            likeness.append(found)
    if len(digests) < DISTINCT * n:
        raise DataError(
            f"{where}: only {len(digests)} of {n} images differ, at least {DISTINCT:.0%} must; remove the repetitions"
        )
    constant = n - len(likeness)
    if constant > CONSTANT * n:
        raise DataError(
            f"{where}: {constant} of {n} images are of one even colour; remove them, and see if the files are whole"
        )
    middle = float(np.median(likeness))
    if middle < CORRELATED:
        raise DataError(
            f"{where}: these images look like random noise: neighbouring pixels correlate by {middle:.2f}, "
            f"in pictures by {CORRELATED} and more; give real frames, as the camera will see them"
        )
    return len(digests)


def neighbours(image: npt.NDArray[Any]) -> float | None:
    """The correlation of pixels with the next one to the right and the next one below.

    Args:
        image: height x width x channels.

    Returns:
        Between -1 and 1, over both directions and all channels; None for an image without any variation.
    """
    if (image == image[:1, :1]).all():
        return None
    top, left = ((edge - min(edge, LOOKED_AT)) // 2 for edge in image.shape[:2])
    pixels = image[top : top + LOOKED_AT, left : left + LOOKED_AT].astype(np.float64)
    products, squares = 0.0, 0.0
    for a, b in ((pixels[:, 1:], pixels[:, :-1]), (pixels[1:], pixels[:-1])):
        if a.size:
            a, b = a - a.mean(axis=(0, 1)), b - b.mean(axis=(0, 1))
            products += float((a * b).sum())
            squares += float(np.sqrt((a * a).sum() * (b * b).sum()))
    return products / squares if squares else 1.0


def _remarks(per_class: tuple[int, ...], classes: Sequence[str]) -> tuple[str, ...]:
    remarks = []
    missing = [name for name, count in zip(classes, per_class, strict=True) if not count]
    if missing:
        named = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        remarks.append(f"{len(missing)} of {len(classes)} classes have no calibration image: {named}")
    present = {name: count for name, count in zip(classes, per_class, strict=True) if count}
    most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    if present[most] > LOPSIDED * present[least]:
        remarks.append(
            f"class {most} has {present[most]} calibration images and class {least} {present[least]}: what is "
            f"fitted to them holds for {most} first"
        )
    return tuple(remarks)
