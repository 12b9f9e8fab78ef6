"""Train one branch on stored tokens, as classifier-wise training does, without running the backbone."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.paper.tokens import Tokens
from toolkit.models.config import HEAD
from toolkit.training.losses import Objective
from toolkit.training.seeds import derived, generator
from toolkit.training.standardise import spread, to_raw

WARM_UP = 0.1
CLIP = 1.0
EVALUATION_BATCH = 500


LIGHT = ("mlp", HEAD)
"""Exits that read one vector an image: an epoch of theirs takes a tenth of the others' time."""


@dataclass(frozen=True)
class Recipe:
    """How branches are trained: the same for all but the light ones, which are far from done after a few epochs."""

    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    bfloat16: bool = True
    """Matrix products of training in bfloat16 where the processor has it; evaluation is in float32."""
    light_epochs: int = 24
    light_learning_rate: float = 3e-3

    def of(self, architecture: str) -> Recipe:
        """What holds for one kind of exit."""
        if architecture not in LIGHT:
            return self
        return dataclasses.replace(self, epochs=self.light_epochs, learning_rate=self.light_learning_rate)


def train_branch(
    branch: nn.Module, tokens: Tokens, goal: Objective, recipe: Recipe, seed: int, place: tuple[int, ...]
) -> float:
    """Train in place; the branch answers in raw units afterwards.

    Args:
        branch: freshly made.
        tokens: of the training part, after its layer.
        goal: classification or regression.
        recipe: how.
        seed: of the order of the images.
        place: tells this branch from others with the same seed.

    Returns:
        Seconds it took.
    """
    began = time.perf_counter()
    array = torch.from_numpy(tokens.load())
    targets, count = tokens.targets, len(tokens.targets)
    batch = min(recipe.batch_size, count)
    steps = recipe.epochs * (count // batch)
    decays = [[p for p in branch.parameters() if (p.dim() > 1) == wanted] for wanted in (True, False)]
    groups = [{"params": decays[0], "weight_decay": recipe.weight_decay}, {"params": decays[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    torch.manual_seed(derived(seed, "dropout", *place))
    branch.train()
    step = 0
    for epoch in range(recipe.epochs):
        order = torch.randperm(count, generator=generator(seed, "order", *place, epoch))
        for start in range(0, count - batch + 1, batch):
            chosen = order[start : start + batch]
            # Fused attention's backward pass over 17 tokens takes eight times as long as that of its parts.
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16), sdpa_kernel(SDPBackend.MATH):
                outputs = branch(array[chosen].float())
            loss = goal.hard(outputs.float(), targets[chosen])
            rise = min(1.0, (step + 1) / max(1.0, WARM_UP * steps))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rise * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(branch.parameters(), CLIP)
            optimizer.step()
            step += 1
    branch.eval()
    if goal.task == "regression":
        assert goal.mean is not None and goal.std is not None
        to_raw(branch, goal.mean, goal.std)
    return time.perf_counter() - began


@torch.inference_mode()
def outputs_of(branch: nn.Module, tokens: Tokens) -> Tensor:
    """A trained branch's outputs, (images, outputs), in float32."""
    array = tokens.load()
    parts = [
        branch(torch.from_numpy(np.array(array[i : i + EVALUATION_BATCH], np.float32)))
        for i in range(0, len(array), EVALUATION_BATCH)
    ]
    return torch.cat(parts)


def metric(task: str, outputs: Tensor, targets: Tensor) -> float:
    """Accuracy, or the mean absolute error in raw units."""
    if task == "classification":
        return float((outputs.argmax(dim=1) == targets).double().mean())
    return float((outputs - targets).abs().double().mean())


def objective(task: str, targets: np.ndarray) -> Objective:
    """The loss; regression learns standardised targets."""
    return Objective("classification") if task == "classification" else Objective("regression", *spread(targets))
