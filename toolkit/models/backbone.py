"""Backbone adapter: a model from anywhere as a stem, an ordered list of layers, and a final head.

The weights stay those of the checkpoint. How each family is taken apart is in `vit.py`, `swin.py` and `chain.py`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from jetson.errors import ModelError
from toolkit.models.chain import chain_of, chain_parts
from toolkit.models.config import BackboneConfig, Family
from toolkit.models.head import Head as Head
from toolkit.models.shape import TokenShape
from toolkit.models.shape import as_pair as as_pair
from toolkit.models.swin import swin_parts
from toolkit.models.vit import vit_parts

SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Width and attention heads of the usual ViTs; depth is 12 and the MLP four times the width unless said otherwise."""

MODEL_CLASSES: dict[Family, tuple[str, str]] = {
    "vit": ("ViTConfig", "ViTModel"),
    "deit": ("DeiTConfig", "DeiTModel"),
    "dinov2": ("Dinov2Config", "Dinov2Model"),
    "dinov2_with_registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel"),
    "swin": ("SwinConfig", "SwinModel"),
    "swinv2": ("Swinv2Config", "Swinv2Model"),
}
HIERARCHICAL = ("swin", "swinv2")
"""Families whose grid shrinks from stage to stage."""


class Backbone(nn.Module):
    """A model taken apart where it can be cut: `stem`, `layers`, `head`."""

    def __init__(self, config: BackboneConfig, outputs: int, model: Any = None) -> None:
        """Adapt a model.

        Args:
            config: its family, the configuration `transformers` keeps, and what its head reads.
            outputs: number of logits or values.
            model: the bare encoder (`ViTModel`, ...), or the `Chain` of a model from Python code; built anew, with
                random weights, when left out.

        Raises:
            ModelError: it cannot be built, or not taken apart.
        """
        super().__init__()
        if config.family == "python":
            parts = chain_parts(config, outputs, model or chain_of(config))
        else:
            take_apart = swin_parts if config.family in HIERARCHICAL else vit_parts
            parts = take_apart(config, outputs, model or new_encoder(config))
        self.stem, self.layers, self.head = parts.stem, nn.ModuleList(parts.layers), parts.head
        self.shapes, self.image_size, self.channels = parts.shapes, parts.image, parts.channels

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def tokens(self) -> TokenShape:
        """What the last layer gives; in a ViT every layer does."""
        return self.shapes[-1]


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
