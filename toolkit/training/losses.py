"""What an exit is trained on and judged by: classification or regression, with or without distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from jetson.manifest import Metric, Task

TEMPERATURE = 2.0
"""Both sides of the distillation loss are softened by it; its square keeps the gradient's size."""


@dataclass(frozen=True)
class Objective:
    """The loss of one exit, and the metric that is reported of it.

    Classification: cross entropy. Regression: smooth L1 on standardised targets, which is the absolute error beyond
    one standard deviation of the target and its square within; while it trains, the model's outputs are standardised
    too (see `standardise.py`).
    """

    task: Task
    mean: Tensor | None = None
    """Regression: mean of the training targets, per output."""
    std: Tensor | None = None
    distillation: float = 0.0
    label_smoothing: float = 0.0

    @property
    def metric(self) -> Metric:
        """Name of the metric."""
        return "accuracy" if self.task == "classification" else "mean_absolute_error"

    def hard(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss against the targets: class indices (batch,) or raw values (batch, outputs)."""
        if self.task == "classification":
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        return F.smooth_l1_loss(outputs, self._standardised(targets))

    def soft(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Loss against the final exit's outputs: softened KL divergence, or squared error in regression."""
        if self.task == "classification":
            ours, theirs = (F.log_softmax(logits / TEMPERATURE, dim=1) for logits in (outputs, teacher.detach()))
            return TEMPERATURE**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return F.mse_loss(outputs, teacher.detach())

    def losses(self, outputs: Sequence[Tensor], trained: Sequence[bool], targets: Tensor, final: bool) -> list[Tensor]:
        """The loss of each trained exit.

        Args:
            outputs: of the exits of a phase, in order.
            trained: which of them train; one that does not is only there to learn from.
            targets: class indices or raw values.
            final: the last of `outputs` is the final exit's. It learns from the targets alone.
        """
        found = []
        for index, (answer, trains) in enumerate(zip(outputs, trained, strict=True)):
            if not trains:
                continue
            loss = self.hard(answer, targets)
            if self.distillation and not (final and index == len(outputs) - 1):
                soft = self.soft(answer, outputs[-1])
                loss = (1 - self.distillation) * loss + self.distillation * soft
            found.append(loss)
        return found

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The metric per image, (batch,): right or not, or the mean absolute error in the targets' own unit."""
        if self.task == "classification":
            return (outputs.argmax(dim=1) == targets).double()
        if self.mean is not None and self.std is not None:
            outputs = outputs * self.std + self.mean
        return (outputs - targets).abs().double().mean(dim=1)

    def _standardised(self, targets: Tensor) -> Tensor:
        return targets if self.mean is None or self.std is None else (targets - self.mean) / self.std

    def to(self, device: torch.device) -> Objective:
        """The same on another device."""
        move = [None if t is None else t.to(device) for t in (self.mean, self.std)]
        return Objective(self.task, move[0], move[1], self.distillation, self.label_smoothing)
