"""The end of a backbone: how its last tokens become outputs, and where its classifiers are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.models.config import Pooling
from toolkit.models.shape import TokenShape


class Head(nn.Module):
    """The backbone's own end: its norm, then a linear map of what the family reads.

    `class` reads z_0; `class+mean` (DINOv2) joins z_0 with the mean patch token; `class+distillation` (DeiT with its
    teacher) averages the predictions of the two tokens; `mean` (Swin) reads the mean patch token alone, which
    `mean-first` (timm's `fc_norm`) takes before the norm.
    """

    def __init__(self, norm: nn.Module, pooling: Pooling, tokens: TokenShape, outputs: int) -> None:
        super().__init__()
        self.norm, self.pooling, self.prefix = norm, pooling, tokens.prefix
        width = 2 * tokens.width if pooling == "class+mean" else tokens.width
        self.classifier = nn.Linear(width, outputs)
        self.distillation = nn.Linear(width, outputs) if pooling == "class+distillation" else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n, width), or a map, to outputs (batch, outputs)."""
        if tokens.dim() == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        if self.pooling == "mean-first":
            return self.classifier(self.norm(tokens[:, self.prefix :].mean(dim=1)))
        tokens = self.norm(tokens)
        if self.pooling == "mean":
            return self.classifier(tokens[:, self.prefix :].mean(dim=1))
        first = tokens[:, 0]
        if self.pooling == "class+mean":
            first = torch.cat([first, tokens[:, self.prefix :].mean(dim=1)], dim=1)
        outputs = self.classifier(first)
        if self.distillation is not None:
            outputs = (outputs + self.distillation(tokens[:, 1])) / 2
        return outputs


def last_linears(module: nn.Module) -> list[nn.Linear]:
    """The linear layers that make a branch's or head's outputs; a head that averages two has two."""
    if isinstance(module, Head):
        return [part for part in (module.classifier, module.distillation) if part is not None]
    return [part for part in module.modules() if isinstance(part, nn.Linear)][-1:]


def fill_head(head: nn.Module, classifiers: Sequence[nn.Linear], order: Sequence[int] | None = None) -> None:
    """Give a final head the weights of a checkpoint's own classifiers.

    Args:
        head: of as many outputs.
        classifiers: as many as the head has.
        order: at each output of the head, the classifier's; the same order when None.
    """
    rows = slice(None) if order is None else list(order)
    with torch.no_grad():
        for ours, theirs in zip(last_linears(head), classifiers, strict=True):
            ours.weight.copy_(theirs.weight[rows].clone())
            if ours.bias is not None and theirs.bias is not None:
                ours.bias.copy_(theirs.bias[rows].clone())
