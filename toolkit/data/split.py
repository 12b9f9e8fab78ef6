"""Cutting one part into several, by seed and with every class in its proportion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jetson.errors import DataError
from toolkit.data.dataset import Part


def balanced_order(labels: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """An order in which every stretch holds the classes in about their overall proportion.

    The i-th of a class's m images is put at (i + 1/2) / m of the way. Where all classes are of one size, any beginning
    of the result holds each of them within one image of its share. A class of one image sits in the middle, so
    that it rather stays in the rest than goes into what is cut off the front.

    Args:
        labels: class indices, [n].
        start: the order within a class and between ties; by default the given one.
    """
    order = np.arange(len(labels)) if start is None else start
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place[order], kind="stable")]


def cut(part: Part, sizes: Sequence[int], seed: int, where: str) -> list[Part]:
    """Cut a seeded permutation of `part` into pieces of `sizes`, and one more with the rest.

    Class indices make it stratified. Each piece is in a mixed order, so its head is a fair sample of it.

    Raises:
        DataError: nothing would be left for the last piece.
    """
    if len(part) <= sum(sizes):
        raise DataError(
            f"{where}: {len(part)} images are too few to cut into {len(sizes) + 1} parts, "
            f"each with at least one; add images"
        )
    order = np.random.default_rng(seed).permutation(len(part))
    if part.targets is not None and part.targets.ndim == 1:
        order = balanced_order(part.targets, order)
    return [part.pick(piece) for piece in np.split(order, np.cumsum(sizes))]


def share(part: Part, fraction: float) -> int:
    """How many images are `fraction` of `part`: at least one."""
    return max(1, round(len(part) * fraction))
