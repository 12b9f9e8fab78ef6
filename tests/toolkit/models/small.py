"""A small model to test with, and weights that hide nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from jetson.manifest import Preprocessing
from toolkit.models.config import BackboneConfig, ExitConfig, ModelConfig, parse_exits

WIDTH, HEADS, DEPTH = 32, 4, 3


def small_config(exits: str | tuple[ExitConfig, ...], **changes: Any) -> ModelConfig:
    settings = {
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": DEPTH,
        "intermediate_size": 4 * WIDTH,
        "image_size": [8, 12],
        "patch_size": 4,
        "num_channels": 1,
    }
    fields: dict[str, Any] = {
        "task": "classification",
        "classes": ("a", "b", "c", "d", "e"),
        "outputs": 5,
        "preprocessing": Preprocessing(height=8, width=12, channels=1, mean=(0.5,), std=(0.25,)),
        "backbone": BackboneConfig(family="vit", pooling="class", transformers=settings),
        "exits": parse_exits(exits, DEPTH) if isinstance(exits, str) else exits,
    }
    return ModelConfig(**fields | changes)


def shaken(module: Any) -> Any:
    """The module with weights large enough that nothing of what it computes can hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            nn.init.normal_(parameter, mean=0.0 if parameter.dim() > 1 else 0.5, std=0.2)
    return module
