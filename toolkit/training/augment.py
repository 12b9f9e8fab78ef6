"""Small random shifts, scales, rotations and mirror images, drawn per image and epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 0.08
"""Largest shift, as a share of the image's edge."""
SCALE = 0.1
ROTATION_DEGREES = 10.0


def draw(n: int, size: tuple[int, int], flip: bool, generator: torch.Generator) -> Tensor:
    """An affine map for each of `n` images, (n, 2, 3), in the coordinates of `affine_grid`.

    They are drawn for the whole epoch at once and looked up by image, so that they do not depend on how the images
    are spread over batches and processes.

    Args:
        n: number of images.
        size: height and width in pixels; a rotation keeps angles only when it knows them.
        flip: mirror half of them left to right.
        generator: where the random numbers come from.
    """
    angle, scale, right, down, side = torch.rand(5, n, generator=generator)
    angle = (2 * angle - 1) * math.radians(ROTATION_DEGREES)
    scale = 1 + (2 * scale - 1) * SCALE
    mirror = torch.where(side < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    aspect = size[1] / size[0]
    # The coordinates run from -1 to 1, whatever the size: an edge is 2 long.
    across = [cos * mirror, -sin / aspect, (2 * right - 1) * 2 * SHIFT]
    along = [sin * mirror * aspect, cos, (2 * down - 1) * 2 * SHIFT]
    return torch.stack([*across, *along], dim=1).view(n, 2, 3)


def warp(pixels: Tensor, maps: Tensor) -> Tensor:
    """Apply `maps` (batch, 2, 3) to pixels (batch, channels, height, width); the border goes on beyond the edge."""
    grid = F.affine_grid(maps, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
