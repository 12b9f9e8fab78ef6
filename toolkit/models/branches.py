"""The seven early-exit branches of arXiv:2106.15183, section III.

Every branch reads the token sequence after a backbone layer, shape (batch, prefix + h*w, width) with the class token
z_0 first, and gives (batch, outputs): logits, or values in regression. Each normalises what it reads, because the
residual stream in the middle of a ViT is not normalised. Where there is no class token, z_0 is the mean of the
tokens; of a CNN's map the pixels are the tokens (docs/decisions/0014-stages.md). Defaults, with D the backbone's width:

| branch | hidden | channels | layers |
|---|---|---|---|
| mlp | D | - | 2 linear layers |
| cnn-ignore, cnn-add, cnn-project | D | D / 2 | 2 convolutions, 3x3 |
| vit | 4 D | - | 1 encoder layer |
| mlp-mixer | 4 D for channels, D / 2 for tokens (scaled along with `hidden`) | - | 1 mixer layer |
| resmlp | 4 D | - | 1 ResMLP layer |
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.models.config import ExitConfig
from toolkit.models.shape import TokenShape as TokenShape

MIXING = {"vit", "mlp-mixer", "resmlp"}
"""Branches that let every token see every other, at a cost that grows with the square of their number."""


def make_branch(config: ExitConfig, tokens: TokenShape, outputs: int) -> nn.Module:
    """Build the branch of one exit, with defaults for the options left open."""
    averaged = config.architecture in MIXING and max(tokens.steps) > 1
    branch = _make_branch(config, tokens.averaged() if averaged else tokens, outputs)
    if averaged:
        branch = OnAverages(branch, tokens)
    return OnMap(branch) if tokens.map else branch


def _make_branch(config: ExitConfig, tokens: TokenShape, outputs: int) -> nn.Module:
    width = tokens.width
    if config.architecture == "mlp":
        return MLPBranch(tokens, outputs, config.hidden or width, config.layers or 2)
    if config.architecture.startswith("cnn-"):
        mode = config.architecture.removeprefix("cnn-")
        channels = config.channels or max(width // 2, 8)
        return CNNBranch(tokens, outputs, mode, channels, config.hidden or width, config.layers or 2)
    kinds = {"vit": ViTBranch, "mlp-mixer": MixerBranch, "resmlp": ResMLPBranch}
    return kinds[config.architecture](tokens, outputs, config.hidden or 4 * width, config.layers or 1)


def mlp(width: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    """`layers` linear layers with GELU between them; one layer is a plain linear map."""
    sizes = [width] + [hidden] * (layers - 1) + [outputs]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes[:-1]):
        parts += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-2], sizes[-1]))


def class_token(tokens: Tensor, prefix: int) -> Tensor:
    """z_0, (batch, 1, width): the first token, or the mean of all where there is no class token."""
    return tokens[:, :1] if prefix else tokens.mean(dim=1, keepdim=True)


class OnMap(nn.Module):
    """A branch on a map (batch, width, rows, columns), whose pixels it takes for tokens."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, image: Tensor) -> Tensor:
        """A map to outputs (batch, outputs)."""
        return self.branch(image.flatten(2).transpose(1, 2))


class OnAverages(nn.Module):
    """A branch on the averages of neighbouring tokens, for grids so large that mixing them all would cost too much."""

    def __init__(self, branch: nn.Module, tokens: TokenShape) -> None:
        super().__init__()
        self.branch, self.grid, self.steps = branch, tokens.grid, tokens.steps
        # What is missing in the last square is split between both edges, and no average counts it.
        missing = (-edge % step for edge, step in zip(self.grid, self.steps, strict=True))
        self.padding = tuple((pixels + 1) // 2 for pixels in missing)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        image = tokens.transpose(1, 2).unflatten(2, self.grid)
        image = F.avg_pool2d(image, self.steps, self.steps, self.padding, count_include_pad=False)
        return self.branch(image.flatten(2).transpose(1, 2))


class MLPBranch(nn.Module):
    """MLP-EE: an MLP on the class token alone."""

    def __init__(self, tokens: TokenShape, outputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.prefix = tokens.prefix
        self.norm = nn.LayerNorm(tokens.width)
        self.mlp = mlp(tokens.width, hidden, outputs, layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        return self.mlp(self.norm(class_token(tokens, self.prefix)[:, 0]))


class CNNBranch(nn.Module):
    """CNN-Ignore-EE, CNN-Add-EE, CNN-Project-EE: convolutions on the patch tokens as a D x h x w map.

    They differ in what becomes of the class token: dropped, added to every patch token, or joined with it and
    projected back to D. The map is averaged before the MLP.
    """

    def __init__(self, tokens: TokenShape, outputs: int, mode: str, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.mode, self.prefix, self.grid = mode, tokens.prefix, tokens.grid
        self.norm = nn.LayerNorm(tokens.width)
        self.project = nn.Linear(2 * tokens.width, tokens.width) if mode == "project" else None
        blocks: list[nn.Module] = []
        for index in range(layers):
            source = tokens.width if index == 0 else channels
            blocks += [nn.Conv2d(source, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.GELU()]
        self.convolutions = nn.Sequential(*blocks)
        self.mlp = mlp(channels, hidden, outputs, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        tokens = self.norm(tokens)
        first, patches = class_token(tokens, self.prefix), tokens[:, self.prefix :]
        if self.mode == "add":
            patches = patches + first
        elif self.project is not None:
            patches = self.project(torch.cat([patches, first.expand_as(patches)], dim=-1))
        image = patches.transpose(1, 2).unflatten(2, self.grid)
        return self.mlp(self.convolutions(image).mean(dim=(2, 3)))


class ViTBranch(nn.Module):
    """ViT-EE: one transformer encoder layer over all tokens, then an MLP on the class token."""

    def __init__(self, tokens: TokenShape, outputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.prefix = tokens.prefix
        self.layers = nn.Sequential(*(EncoderLayer(tokens.width, tokens.heads, hidden) for _ in range(layers)))
        self.norm = nn.LayerNorm(tokens.width)
        self.mlp = mlp(tokens.width, tokens.width, outputs, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        return self.mlp(self.norm(class_token(self.layers(tokens), self.prefix)[:, 0]))


class EncoderLayer(nn.Module):
    """A pre-norm transformer encoder layer."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = mlp(width, hidden, width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens of the same shape."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(tokens)).chunk(3, -1)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(attended)
        return tokens + self.mlp(self.norm2(tokens))


class MixerBranch(nn.Module):
    """MLP-Mixer-EE: one Mixer layer over all tokens, then their average."""

    def __init__(self, tokens: TokenShape, outputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        across = max(hidden // 8, 1)
        self.layers = nn.Sequential(*(MixerLayer(tokens, across, hidden) for _ in range(layers)))
        self.norm = nn.LayerNorm(tokens.width)
        self.output = nn.Linear(tokens.width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        return self.output(self.norm(self.layers(tokens)).mean(dim=1))


class MixerLayer(nn.Module):
    """MLP-Mixer (arXiv:2105.01601): an MLP across tokens, then an MLP across channels."""

    def __init__(self, tokens: TokenShape, across: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(tokens.width), nn.LayerNorm(tokens.width)
        self.across = mlp(tokens.count, across, tokens.count, 2)
        self.along = mlp(tokens.width, hidden, tokens.width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens of the same shape."""
        tokens = tokens + self.across(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens + self.along(self.norm2(tokens))


class ResMLPBranch(nn.Module):
    """ResMLP-EE: one ResMLP layer over all tokens, then their average.

    A ResMLP layer normalises nothing, so the branch does it first: docs/decisions/0007-resmlp-norm.md has the figures.
    """

    def __init__(self, tokens: TokenShape, outputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(tokens.width)
        self.layers = nn.Sequential(*(ResMLPLayer(tokens, hidden) for _ in range(layers)))
        self.affine = Affine(tokens.width)
        self.output = nn.Linear(tokens.width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to outputs (batch, outputs)."""
        return self.output(self.affine(self.layers(self.norm(tokens))).mean(dim=1))


class ResMLPLayer(nn.Module):
    """ResMLP (arXiv:2105.03404): a linear map across patches, then an MLP across channels, both scaled per channel."""

    def __init__(self, tokens: TokenShape, hidden: int) -> None:
        super().__init__()
        self.before, self.between = Affine(tokens.width), Affine(tokens.width)
        self.across = nn.Linear(tokens.count, tokens.count)
        self.along = mlp(tokens.width, hidden, tokens.width, 2)
        self.scale1 = nn.Parameter(torch.full((tokens.width,), 0.1))
        self.scale2 = nn.Parameter(torch.full((tokens.width,), 0.1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens of the same shape."""
        tokens = tokens + self.scale1 * self.across(self.before(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens + self.scale2 * self.along(self.between(tokens))


class Affine(nn.Module):
    """A scale and a shift per channel: ResMLP's stand-in for LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width) to tokens of the same shape."""
        return tokens * self.scale + self.shift
