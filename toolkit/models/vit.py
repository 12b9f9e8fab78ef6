"""ViT, DeiT and DINOv2 of `transformers`, and timm's as they become one of them, taken apart.

Only the stem's arithmetic is written out here (patches, prefix tokens, positions), so that a position table for
another image size is computed once when the model is built and not at every frame, and so that the exported graph
holds no resizing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from toolkit.models.config import BackboneConfig
from toolkit.models.head import Head
from toolkit.models.parts import Parts
from toolkit.models.shape import TokenShape, as_pair


class Stem(nn.Module):
    """Pixels (batch, channels, height, width) to tokens (batch, prefix + h*w, width)."""

    def __init__(
        self, projection: nn.Conv2d, prefix: Tensor | None, registers: Tensor | None, positions: Tensor
    ) -> None:
        super().__init__()
        self.projection = projection
        self.prefix = None if prefix is None else nn.Parameter(prefix)
        self.registers = None if registers is None else nn.Parameter(registers)
        self.positions = nn.Parameter(positions)

    def forward(self, pixels: Tensor) -> Tensor:
        """Cut into patches, put the prefix tokens first, add positions; registers have none and go in after."""
        tokens = self.projection(pixels).flatten(2).transpose(1, 2)
        batch = tokens.shape[0]
        if self.prefix is not None:
            tokens = torch.cat([self.prefix.expand(batch, -1, -1), tokens], dim=1)
        tokens = tokens + self.positions
        if self.registers is not None:
            count = 0 if self.prefix is None else self.prefix.shape[1]
            registers = self.registers.expand(batch, -1, -1)
            tokens = torch.cat([tokens[:, :count], registers, tokens[:, count:]], dim=1)
        return tokens


class Layer(nn.Module):
    """One backbone layer behind a plain tokens-to-tokens signature."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens of the same shape."""
        out = self.layer(tokens)
        return out[0] if isinstance(out, tuple) else out


def vit_parts(config: BackboneConfig, outputs: int, model: Any) -> Parts:
    """Take a bare encoder (`ViTModel`, ...) apart; arguments as those of `Backbone`."""
    settings, embeddings = model.config, model.embeddings
    image, patch = as_pair(settings.image_size), as_pair(settings.patch_size)
    prefix = [embeddings.cls_token.detach()] if config.class_token else []
    if config.family == "deit":
        prefix.append(embeddings.distillation_token.detach())
    registers = embeddings.register_tokens.detach() if config.family == "dinov2_with_registers" else None
    tokens = TokenShape(
        width=settings.hidden_size,
        heads=settings.num_attention_heads,
        prefix=len(prefix) + (0 if registers is None else registers.shape[1]),
        grid=(image[0] // patch[0], image[1] // patch[1]),
    )
    positions = embeddings.position_embeddings.detach()
    stem = Stem(
        embeddings.patch_embeddings.projection,
        torch.cat(prefix, dim=1).clone() if prefix else None,
        None if registers is None else registers.clone(),
        (positions if config.class_token else positions[:, 1:]).clone(),
    )
    layers = [Layer(layer) for layer in _encoder_layers(model)]
    return Parts(
        stem=stem,
        layers=layers,
        head=Head(model.layernorm, config.pooling, tokens, outputs),
        shapes=(tokens,) * len(layers),
        image=image,
        channels=settings.num_channels,
    )


def _encoder_layers(model: Any) -> Any:
    """The ordered layers of a bare encoder, wherever its class keeps them."""
    return model.layers if hasattr(model, "layers") else model.encoder.layer
