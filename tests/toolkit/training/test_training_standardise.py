"""A model trained on standardised targets answers in raw units once its last layers are rescaled."""

import numpy as np
import torch

from tests.toolkit.training.small import small_model
from toolkit.models.backbone import Head
from toolkit.models.branches import TokenShape
from toolkit.models.config import ARCHITECTURES
from toolkit.training.standardise import all_to_raw, spread, to_raw, to_standard

MEAN, STD = torch.tensor([30.0, -2.0, 500.0]), torch.tensor([4.0, 0.1, 200.0])


def test_every_branch_is_rescaled_exactly() -> None:
    model = small_model(exits=",".join(f"1:{name}" for name in ARCHITECTURES)).eval()
    pixels = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        before = model(pixels)
        all_to_raw(model, MEAN, STD)
        after = model(pixels)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old * STD + MEAN, rtol=1e-5, atol=1e-3)


def test_a_head_that_averages_two_layers_and_back_again() -> None:
    shape = TokenShape(width=8, heads=2, prefix=2, grid=(2, 2))
    head = Head(torch.nn.LayerNorm(8), "class+distillation", shape, 3).eval()
    tokens = torch.randn(5, shape.count, 8)
    with torch.no_grad():
        before = head(tokens)
        to_raw(head, MEAN, STD)
        torch.testing.assert_close(head(tokens), before * STD + MEAN)
        to_standard(head, MEAN, STD)
        torch.testing.assert_close(head(tokens), before, rtol=1e-4, atol=1e-4)


def test_a_target_that_never_changes_keeps_its_scale() -> None:
    mean, std = spread(np.array([[1.0, 5.0], [3.0, 5.0]], np.float32))
    assert (mean.tolist(), std.tolist()) == ([2.0, 5.0], [1.0, 1.0])
    assert spread(np.array([[1.0], [5.0]], np.float32))[1].tolist() == [2.0]
