"""A data set of a few noisy squares, and settings that train on it in a fraction of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.dataset import DataSet, Part, assemble
from toolkit.models.config import ModelConfig
from toolkit.models.multi_exit import MultiExitModel
from toolkit.training.compose import Plan, compose
from toolkit.training.settings import TrainSettings

CLASSES = ("left", "middle", "right")


def squares(task: str = "classification", channels: int = 1, size: int = 8) -> DataSet:
    """Where is the bright third of the image? Regression: how bright is it, in units of a thousand."""
    rng = np.random.default_rng(0)
    parts = {}
    for split, n in (("train", 40), ("calibration", 15), ("test", 17)):
        labels = rng.integers(0, 3, n)
        images = rng.integers(0, 60, (n, size, size, channels), dtype=np.uint8)
        bright = rng.integers(100, 250, n)
        for image, label, value in zip(images, labels, bright, strict=True):
            image[:, label * size // 3 : (label + 1) * size // 3] = value
        targets = labels if task == "classification" else (bright[:, None] * 1000).astype(np.float32)
        parts[split] = Part(images, targets)
    return assemble("squares", "squares", **parts, classes=CLASSES if task == "classification" else None)


def settings(out: Path | str = "out", **changes: Any) -> TrainSettings:
    chosen: dict[str, Any] = {"data": "digits", "exits": "1:mlp,1:cnn-add,2:vit", "depth": 2, "patch_size": 4}
    return TrainSettings(out=Path(out), **{**chosen, "epochs": 2, "batch_size": 8, **changes})


def plan(task: str = "classification", **changes: Any) -> Plan:
    return compose(settings(**changes), squares(task))


def small_model(**changes: Any) -> MultiExitModel:
    return plan(**changes).model


def small_config(**changes: Any) -> ModelConfig:
    return small_model(**changes).config
