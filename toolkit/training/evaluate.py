"""Judge exits on a whole part of a data set, whatever the number of processes."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from toolkit.training.dataset import Batch
from toolkit.training.losses import Objective


@torch.no_grad()
def evaluate(accelerator: Accelerator, module: nn.Module, loader: DataLoader[Batch], goal: Objective) -> list[float]:
    """The metric of every exit that `module` answers, averaged over all images, each counted once.

    Args:
        accelerator: knows the other processes.
        module: pixels to a list of outputs; put into evaluation mode.
        loader: all images, prepared by `accelerator`.
        goal: whose metric is taken.
    """
    module.eval()
    scores: list[Tensor] = []
    for pixels, targets, _ in loader:
        found = torch.stack([goal.score(outputs.float(), targets) for outputs in module(pixels)], dim=1)
        # The last batch is filled up so that every process has its share; this drops the repeats again.
        scores.append(accelerator.gather_for_metrics(found))
    return torch.cat(scores).mean(dim=0).tolist()
