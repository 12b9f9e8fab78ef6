"""The part of a model that one phase computes, with the rest of it frozen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models.multi_exit import MultiExitModel
from toolkit.training.phases import Phase


class PhaseModel(nn.Module):
    """Segments up to the deepest exit a phase needs, and the branches of its exits; shares the model's weights.

    Frozen parts stay in evaluation mode, so that neither batch norm nor dropout moves in them, and run without
    gradients: their tokens are computed once for all branches.
    """

    def __init__(self, model: MultiExitModel, phase: Phase, teacher: bool = False) -> None:
        """Freeze what the phase does not train.

        Args:
            model: the whole model; the gradient flags of its weights are set for the phase.
            phase: what trains.
            teacher: also compute the final exit, for the early ones to learn from, even if it does not train.
        """
        super().__init__()
        wanted = [i for i, e in enumerate(model.exits) if e.name in phase.weights]
        if teacher and wanted[-1] != len(model.exits) - 1:
            wanted.append(len(model.exits) - 1)
        self.exits = tuple(model.exits[i].name for i in wanted)
        self.places = tuple(model.cuts.index(model.exits[i].layer) for i in wanted)
        self.trained = tuple(name in phase.weights for name in self.exits)
        self.segments = nn.ModuleList(model.segments()[: max(self.places) + 1])
        self.branches = nn.ModuleList(model.branch(i) for i in wanted)
        self.first = min(phase.segments, default=len(self.segments))
        model.requires_grad_(False)
        for module in self.trainable():
            module.requires_grad_(True)

    def trainable(self) -> list[nn.Module]:
        """The modules that train."""
        branches = [b for b, trained in zip(self.branches, self.trained, strict=True) if trained]
        return [*list(self.segments)[self.first :], *branches]

    def train(self, mode: bool = True) -> PhaseModel:
        """Put only what trains into training mode."""
        super().train(False)
        for module in self.trainable() if mode else ():
            module.train(True)
        self.training = mode
        return self

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels to the outputs of `exits`, (batch, outputs) each."""
        grad = torch.is_grad_enabled()
        tokens, found = pixels, []
        for index, segment in enumerate(self.segments):
            with torch.set_grad_enabled(grad and index >= self.first):
                tokens = segment(tokens)
            found.append(tokens)
        answers = []
        for place, branch, trained in zip(self.places, self.branches, self.trained, strict=True):
            with torch.set_grad_enabled(grad and trained):
                answers.append(branch(found[place]))
        return answers
