"""Small pictures in folders by class, as a tiny bundle's last exit would mostly sort them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from calibration.outputs import collect_outputs
from jetson import Bundle
from jetson.engines import load_engines

SEED = 3
"""Of a tiny bundle whose last exit names each class often enough."""
SIZES = {"train": 6, "calibration": 72, "test": 40}
FLIPPED = 0.15


def pictures(n: int, seed: int = 0, edge: int = 8) -> np.ndarray:
    """Grey images of even patches, uint8 [n, edge, edge]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, edge // 2, edge // 2), dtype=np.uint8)
    return coarse.repeat(2, axis=1).repeat(2, axis=2)


def sort_out(bundle: Bundle, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Labels: the last exit's answers, some of them replaced."""
    rng = np.random.default_rng(seed)
    with contextlib.closing(load_engines(bundle)) as engines:
        labels = collect_outputs(bundle.manifest, engines, images[..., None])[:, -1].argmax(axis=1)
    flipped = rng.random(len(labels)) < FLIPPED
    return np.where(flipped, rng.integers(0, bundle.manifest.outputs, len(labels)), labels)


def write_parts(
    folder: Path, bundle: Bundle, seed: int = 0, sizes: Mapping[str, int] = SIZES, classes: tuple[str, ...] = ()
) -> Path:
    """Train, calibration and test in folders, with images of every class in each."""
    names = classes or bundle.manifest.classes or ()
    for number, (part, n) in enumerate(sizes.items()):
        images = pictures(n, seed=10 * seed + number)
        labels = sort_out(bundle, images, seed)
        labels[: len(names)] = np.arange(len(names))
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            place = folder / part / names[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{index:03}.png")
    return folder
