"""Parameters and floating-point operations of a module, counted by PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    """Number of weights, shared ones once."""
    return sum(p.numel() for p in module.parameters())


def flops(module: nn.Module, example: Tensor) -> int:
    """Floating-point operations of one forward pass: matrix products and convolutions, two per multiply-add.

    Attention is counted as the two products it is; element-wise work is not counted.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(example)
    for part, training in modes:  # a part may be in another mode than the whole
        part.training = training
    return int(counter.get_total_flops())
