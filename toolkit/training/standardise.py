"""Regression learns standardised targets; the finished model answers in raw units, its last layers rescaled."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.models.head import last_linears
from toolkit.models.multi_exit import MultiExitModel


def spread(targets: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of targets [n, outputs], per output; 1 where a target never changes."""
    std = targets.std(axis=0, dtype=np.float64)
    return torch.tensor(targets.mean(axis=0, dtype=np.float64)).float(), torch.tensor(np.where(std > 0, std, 1)).float()


@torch.no_grad()
def to_raw(module: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Rescale a branch or head from standardised outputs to raw ones."""
    for last in last_linears(module):
        last.weight.mul_(std[:, None])
        last.bias.mul_(std).add_(mean)


@torch.no_grad()
def to_standard(module: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Rescale a head that answers in raw units, a checkpoint's own, to standardised outputs."""
    for last in last_linears(module):
        last.weight.div_(std[:, None])
        last.bias.sub_(mean).div_(std)


def all_to_raw(model: MultiExitModel, mean: Tensor, std: Tensor) -> None:
    """Rescale every exit of a trained model to raw outputs."""
    for index in range(len(model.exits)):
        to_raw(model.branch(index), mean, std)
