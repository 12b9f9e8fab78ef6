"""A backbone taken apart, whatever it was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from toolkit.models.shape import TokenShape


@dataclass(frozen=True, eq=False)
class Parts:
    """What the adapter of each family gives."""

    stem: nn.Module
    """Pixels (batch, channels, height, width) to what the first layer reads."""
    layers: Sequence[nn.Module]
    head: nn.Module
    """What the last layer gives to outputs (batch, outputs)."""
    shapes: tuple[TokenShape, ...]
    """What each layer gives."""
    image: tuple[int, int]
    """Height and width of the input in pixels."""
    channels: int
