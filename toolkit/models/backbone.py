"""Backbone adapter: any `transformers` ViT, DeiT or DINOv2 as a stem, an ordered list of layers, and a final head.

The weights stay those of the checkpoint; only the stem's arithmetic is written out here (patches, prefix tokens,
positions), so that a position table for another image size is computed once when the model is built and not at every
frame, and so that the exported graph holds no resizing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from jetson.errors import ModelError
from toolkit.models.branches import TokenShape
from toolkit.models.config import BackboneConfig, Family, Pooling

SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Width and attention heads of the usual ViTs; depth is 12 and the MLP four times the width unless said otherwise."""

MODEL_CLASSES: dict[Family, tuple[str, str]] = {
    "vit": ("ViTConfig", "ViTModel"),
    "deit": ("DeiTConfig", "DeiTModel"),
    "dinov2": ("Dinov2Config", "Dinov2Model"),
    "dinov2_with_registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel"),
}


class Stem(nn.Module):
    """Pixels (batch, channels, height, width) to tokens (batch, prefix + h*w, width)."""

    def __init__(self, projection: nn.Conv2d, prefix: Tensor, registers: Tensor | None, positions: Tensor) -> None:
        super().__init__()
        self.projection = projection
        self.prefix = nn.Parameter(prefix)
        self.registers = None if registers is None else nn.Parameter(registers)
        self.positions = nn.Parameter(positions)

    def forward(self, pixels: Tensor) -> Tensor:
        """Cut into patches, put the prefix tokens first, add positions; registers have none and go in after."""
        patches = self.projection(pixels).flatten(2).transpose(1, 2)
        batch = patches.shape[0]
        tokens = torch.cat([self.prefix.expand(batch, -1, -1), patches], dim=1) + self.positions
        if self.registers is not None:
            count = self.prefix.shape[1]
            registers = self.registers.expand(batch, -1, -1)
            tokens = torch.cat([tokens[:, :count], registers, tokens[:, count:]], dim=1)
        return tokens


class Head(nn.Module):
    """The backbone's own end: its norm, then a linear map of what the family reads.

    `class` reads z_0; `class+mean` (DINOv2) joins z_0 with the mean patch token; `class+distillation` (DeiT with its
    teacher) averages the predictions of the two tokens.
    """

    def __init__(self, norm: nn.LayerNorm, pooling: Pooling, tokens: TokenShape, outputs: int) -> None:
        super().__init__()
        self.norm, self.pooling, self.prefix = norm, pooling, tokens.prefix
        width = 2 * tokens.width if pooling == "class+mean" else tokens.width
        self.classifier = nn.Linear(width, outputs)
        self.distillation = nn.Linear(width, outputs) if pooling == "class+distillation" else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        tokens = self.norm(tokens)
        first = tokens[:, 0]
        if self.pooling == "class+mean":
            first = torch.cat([first, tokens[:, self.prefix :].mean(dim=1)], dim=1)
        outputs = self.classifier(first)
        if self.distillation is not None:
            outputs = (outputs + self.distillation(tokens[:, 1])) / 2
        return outputs


class Layer(nn.Module):
    """One backbone layer behind a plain tokens-to-tokens signature."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens of the same shape."""
        out = self.layer(tokens)
        return out[0] if isinstance(out, tuple) else out


class Backbone(nn.Module):
    """A ViT taken apart where it can be cut: `stem`, `layers`, `head`."""

    def __init__(self, config: BackboneConfig, outputs: int, model: Any = None) -> None:
        """Adapt a `transformers` model.

        Args:
            config: its family, the configuration `transformers` keeps, and what its head reads.
            outputs: number of logits or values.
            model: the bare encoder (`ViTModel`, ...); built with random weights when left out.
        """
        super().__init__()
        model = model or new_encoder(config)
        settings = model.config
        self.image_size = as_pair(settings.image_size)
        patch = as_pair(settings.patch_size)
        embeddings = model.embeddings
        prefix = [embeddings.cls_token.detach()]
        if config.family == "deit":
            prefix.append(embeddings.distillation_token.detach())
        registers = embeddings.register_tokens.detach() if config.family == "dinov2_with_registers" else None
        self.tokens = TokenShape(
            width=settings.hidden_size,
            heads=settings.num_attention_heads,
            prefix=len(prefix) + (0 if registers is None else registers.shape[1]),
            grid=(self.image_size[0] // patch[0], self.image_size[1] // patch[1]),
        )
        self.channels: int = settings.num_channels
        self.stem = Stem(
            embeddings.patch_embeddings.projection,
            torch.cat(prefix, dim=1).clone(),
            None if registers is None else registers.clone(),
            embeddings.position_embeddings.detach().clone(),
        )
        self.layers = nn.ModuleList(Layer(layer) for layer in encoder_layers(model))
        self.head = Head(model.layernorm, config.pooling, self.tokens, outputs)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)


def encoder_layers(model: Any) -> nn.ModuleList:
    """The ordered layers of a bare encoder, wherever its class keeps them."""
    if hasattr(model, "layers"):
        return model.layers
    return model.encoder.layer


def new_encoder(config: BackboneConfig) -> Any:
    """A bare encoder with random weights.

    Raises:
        ModelError: `transformers` does not accept the configuration.
    """
    import transformers

    config_class, model_class = (getattr(transformers, name) for name in MODEL_CLASSES[config.family])
    options = {} if config.family.startswith("dinov2") else {"add_pooling_layer": False}
    try:
        return model_class(config_class(**config.transformers), **options)
    except (ValueError, TypeError) as error:
        raise ModelError(f"transformers does not accept this backbone: {error}") from None


def sized_backbone(
    size: str, image: tuple[int, int], patch: int, channels: int, depth: int = 12, dropout: float = 0.0
) -> BackboneConfig:
    """A ViT from a size name, with random weights.

    Args:
        size: `tiny`, `small` or `base`.
        image: height and width of its input in pixels, multiples of `patch`.
        patch: edge of a patch in pixels.
        channels: of the input.
        depth: number of layers.
        dropout: after attention and MLP, in training only.

    Raises:
        ModelError: an unknown size, or an image that does not divide into patches.
    """
    if size not in SIZES:
        raise ModelError(f"unknown backbone size {size!r}; the sizes are {', '.join(SIZES)}")
    if min(*image, patch, channels, depth) < 1:
        raise ModelError("image size, patch size, channels and depth must be positive")
    if image[0] % patch or image[1] % patch:
        raise ModelError(f"an image of {image[0]}x{image[1]} does not divide into patches of {patch}x{patch}")
    width, heads = SIZES[size]
    settings = {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": depth,
        "intermediate_size": 4 * width,
        "image_size": image[0] if image[0] == image[1] else list(image),
        "patch_size": patch,
        "num_channels": channels,
        "hidden_dropout_prob": dropout,
        # The usual 0.02 is for long training: small data sets learn several times faster from weights of this size.
        "initializer_range": round(width**-0.5, 4),
    }
    return BackboneConfig(family="vit", pooling="class", transformers=settings)


def as_pair(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width from a number or a pair."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
