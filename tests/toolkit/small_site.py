"""A small untrained model, and pictures in folders that it gets right: what a build with int8 needs, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from jetson.manifest import Preprocessing
from tests.toolkit.digits_model import SETTINGS
from tests.toolkit.models.small import shaken
from tests.toolkit.pictures import pictures
from toolkit.models.checkpoint import save_checkpoint
from toolkit.models.config import BackboneConfig, ModelConfig, parse_exits
from toolkit.models.multi_exit import MultiExitModel

SIZES = {"train": 12, "calibration": 80, "test": 40}
CLASSES = ("left", "middle", "right")


class Site(NamedTuple):
    """A checkpoint with one early exit, and a folder of data in parts."""

    checkpoint: Path
    data: Path


def small_site(folder: Path, task: str = "classification", seed: int = 1) -> Site:
    """Write both; targets are what the last exit answers."""
    torch.manual_seed(seed)
    classify = task == "classification"
    config = ModelConfig(
        task=task,  # type: ignore[arg-type]
        classes=CLASSES if classify else None,
        outputs=len(CLASSES) if classify else 1,
        preprocessing=Preprocessing(height=8, width=8, channels=1, mean=(0.5,), std=(0.25,)),
        backbone=BackboneConfig(family="vit", pooling="class", transformers={**SETTINGS, "num_hidden_layers": 2}),
        exits=parse_exits("1:mlp", 2),
    )
    model: MultiExitModel = shaken(MultiExitModel(config)).eval()
    parts = {name: pictures(n, seed=100 + number) for number, (name, n) in enumerate(SIZES.items())}
    with torch.no_grad():
        # Random weights name one class for every picture, unless the outputs are centred.
        for exit_, values in enumerate(answers(model, pictures(300, seed=7))):
            [*model.branch(exit_).parameters()][-1].sub_(values.mean(dim=0))
    save_checkpoint(folder / "checkpoint", model)
    for name, images in parts.items():
        found = answers(model, images)[-1].numpy()
        (_write_classes if classify else _write_values)(folder / "site" / name, images, found)
    return Site(folder / "checkpoint", folder / "site")


def answers(model: MultiExitModel, images: np.ndarray) -> list[torch.Tensor]:
    """Every exit's outputs."""
    pixels = torch.from_numpy(((images / 255 - 0.5) / 0.25).astype(np.float32))[:, None]
    with torch.inference_mode():
        return list(model(pixels))


def _write_classes(folder: Path, images: np.ndarray, found: np.ndarray) -> None:
    for index, (image, values) in enumerate(zip(images, found, strict=True)):
        place = folder / CLASSES[values.argmax()]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:03}.png")


def _write_values(folder: Path, images: np.ndarray, found: np.ndarray) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(0, 0.3 * found.std(), len(found))
    lines = ["file,value"]
    for index, (image, value) in enumerate(zip(images, found[:, 0] + noise, strict=True)):
        Image.fromarray(image).save(folder / f"{index:03}.png")
        lines.append(f"{index:03}.png,{value:.6f}")
    (folder / "targets.csv").write_text("\n".join(lines) + "\n")
