"""A small counting task with real digits: how many are on the canvas, 0 to 8?

Scikit-learn's 8x8 digits are laid at random places of a dark 32x32 canvas with a little sensor noise. The noise also
makes two empty canvases differ, so that they are not taken for duplicates. Which digits may appear is split like the
digits themselves, so no digit seen in training is counted in calibration or test.
"""

from __future__ import annotations

import numpy as np

from toolkit.data.dataset import SPLITS, DataSet, Part, assemble
from toolkit.data.digits import load_digits

CANVAS = 32
DIGIT = 8
MOST = 8
SIZES = {"train": 4000, "calibration": 600, "test": 600}
# The corners of two digits are at least this far apart along one axis: boxes share a quarter of their area at most.
_APART = 6
_NOISE = 24


def load_counting(seed: int, sizes: dict[str, int] | None = None) -> DataSet:
    """The three parts, drawn afresh from the seed; targets are float32 [n, 1].

    Args:
        seed: decides the digits of each part, their places and their number.
        sizes: images per part, `SIZES` by default.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    sizes = sizes or SIZES
    digits = load_digits(seed)
    parts = []
    for number, split in enumerate(SPLITS):
        pool = np.stack(list(digits.part(split).images))[..., 0]
        parts.append(_draw(pool, sizes[split], np.random.default_rng([seed, number])))
    return assemble("counting", "counting", train=parts[0], calibration=parts[1], test=parts[2])


def _draw(pool: np.ndarray, n: int, rng: np.random.Generator) -> Part:
    counts = rng.integers(0, MOST + 1, size=n)
    images = rng.integers(0, _NOISE, size=(n, CANVAS, CANVAS), dtype=np.uint8)
    for image, count in zip(images, counts, strict=True):
        for digit, (y, x) in zip(rng.integers(len(pool), size=count), _places(count, rng), strict=True):
            spot = image[y : y + DIGIT, x : x + DIGIT]
            np.maximum(spot, pool[digit], out=spot)
    return Part(images[..., None], counts[:, None].astype(np.float32))


def _places(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Top-left corners, one after the other uniformly among those still free; a dead end starts over."""
    side = CANVAS - DIGIT + 1
    while True:
        free = np.ones((side, side), dtype=bool)
        places: list[tuple[int, int]] = []
        while len(places) < count:
            open_ = np.flatnonzero(free)
            if not len(open_):
                break
            y, x = divmod(int(open_[rng.integers(len(open_))]), side)
            places.append((y, x))
            free[max(0, y - _APART + 1) : y + _APART, max(0, x - _APART + 1) : x + _APART] = False
        if len(places) == count:
            return places
