"""A small multi-exit model for scikit-learn's digits, with random weights, and its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from jetson.manifest import Preprocessing
from tests.toolkit.models.small import shaken
from toolkit.models.checkpoint import save_checkpoint
from toolkit.models.config import ARCHITECTURES, BackboneConfig, ModelConfig, parse_exits
from toolkit.models.multi_exit import MultiExitModel

DEPTH = 3
SETTINGS: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": DEPTH,
    "intermediate_size": 64,
    "image_size": [8, 8],
    "patch_size": 2,
    "num_channels": 1,
}
EVERY_BRANCH = ",".join(f"{1 + i % DEPTH}:{name}" for i, name in enumerate(ARCHITECTURES))
"""All seven, over three layers."""


def digits_model(exits: str = "1:mlp,2:cnn-add", seed: int = 0) -> MultiExitModel:
    torch.manual_seed(seed)
    config = ModelConfig(
        task="classification",
        classes=tuple("0123456789"),
        outputs=10,
        preprocessing=Preprocessing(height=8, width=8, channels=1, mean=(0.3,), std=(0.37,)),
        backbone=BackboneConfig(family="vit", pooling="class", transformers=SETTINGS),
        exits=parse_exits(exits, DEPTH),
    )
    model: MultiExitModel = shaken(MultiExitModel(config)).eval()
    return model


def digits_checkpoint(folder: Path, exits: str = "1:mlp,2:cnn-add", seed: int = 0) -> Path:
    save_checkpoint(folder, digits_model(exits, seed))
    return folder
