"""Swin and Swin v2 of `transformers`, taken apart: stages of blocks in windows, between them a merging of patches.

The layers are the blocks of all stages, counted through. A merging belongs to the block behind it, so that an exit at
the end of a stage reads what that stage gives and pays nothing for the next one (docs/decisions/0014-stages.md).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from jetson.errors import ModelError
from toolkit.models.config import BackboneConfig
from toolkit.models.head import Head
from toolkit.models.parts import Parts
from toolkit.models.shape import TokenShape, as_pair

MOST = 14
"""Longest edge of the grid that a branch that mixes tokens reads: that of a ViT with patches of 16 pixels at 224."""


class Stem(nn.Module):
    """Pixels to normalised patches (batch, h*w, width)."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, pixels: Tensor) -> Tensor:
        """The patches alone; the edges of an image that the patches do not divide are padded."""
        tokens: Tensor = self.embeddings(pixels)[0]
        return tokens


class Block(nn.Module):
    """One block, and before it the merging of patches where a stage begins."""

    def __init__(
        self, layer: nn.Module, grid: tuple[int, int], merge: nn.Module | None, before: tuple[int, int]
    ) -> None:
        super().__init__()
        self.merge, self.layer, self.grid, self.before = merge, layer, grid, before

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens, fewer and wider after a merging."""
        if self.merge is not None:
            tokens = self.merge(tokens, self.before)
        out = self.layer(tokens, self.grid)
        return out[0] if isinstance(out, tuple) else out


def swin_parts(config: BackboneConfig, outputs: int, model: Any) -> Parts:
    """Take a bare `SwinModel` or `Swinv2Model` apart; arguments as those of `Backbone`."""
    settings = model.config
    image, patch = as_pair(settings.image_size), as_pair(settings.patch_size)
    if model.embeddings.mask_token is not None:  # for its training only
        model.embeddings.mask_token = None
    grid = before = (-(-image[0] // patch[0]), -(-image[1] // patch[1]))
    layers: list[Block] = []
    shapes: list[TokenShape] = []
    merge: nn.Module | None = None
    for number, stage in enumerate(model.encoder.layers):
        if merge is not None:
            before, grid = grid, (-(-grid[0] // 2), -(-grid[1] // 2))
        if config.family == "swin" and min(grid) < settings.window_size:
            raise ModelError(
                f"at {image[0]}x{image[1]} stage {number + 1} has {grid[0]}x{grid[1]} patches, fewer than a window of "
                f"{settings.window_size}x{settings.window_size}; transformers cannot compute that either, take a "
                "larger image"
            )
        shape = TokenShape(
            width=settings.embed_dim * 2**number,
            heads=settings.num_heads[number],
            prefix=0,
            grid=grid,
            most=MOST,
        )
        for block in stage.blocks:
            layers.append(Block(block, grid, merge, before))
            shapes.append(shape)
            merge = None
        merge, stage.downsample = stage.downsample, None
    return Parts(
        stem=Stem(model.embeddings),
        layers=layers,
        head=Head(model.layernorm, config.pooling, shapes[-1], outputs),
        shapes=tuple(shapes),
        image=image,
        channels=settings.num_channels,
    )
