"""The one training loop: phases of epochs of steps, under Accelerate, the same on one process or several."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from jetson.errors import WorkFailed
from toolkit.data.catalog import parse
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.record import EpochRecord
from toolkit.training.augment import draw, warp
from toolkit.training.compose import Plan
from toolkit.training.dataset import Batch, Frames, Shuffled, evaluation_loader, training_loader
from toolkit.training.evaluate import evaluate
from toolkit.training.losses import Objective
from toolkit.training.partial import PhaseModel
from toolkit.training.phases import Phase, is_final
from toolkit.training.seeds import derived, generator
from toolkit.training.settings import PRETRAINED_FACTOR, Progress
from toolkit.training.state import State

WARM_UP = 0.1
"""Share of a phase's steps in which the learning rate rises, before it falls along a cosine."""
CLIP = 1.0
"""Longest gradient, all trained weights together."""
MIRRORED = (None, "image-folder", "cifar10")
"""Data whose mirror image is as good: photographs, not digits."""


@dataclass(frozen=True, eq=False)
class Loop:
    """Everything that stays the same from phase to phase."""

    accelerator: Accelerator
    plan: Plan
    goal: Objective
    frames: Frames
    calibration: DataLoader[Batch]
    progress: Progress

    @classmethod
    def of(cls, plan: Plan, goal: Objective, accelerator: Accelerator, progress: Progress) -> Loop:
        """Prepare the images."""
        preprocessing = plan.model.config.preprocessing
        frames = Frames(plan.data.train, preprocessing)
        loader = evaluation_loader(Frames(plan.data.calibration, preprocessing), accelerator.num_processes)
        return cls(accelerator, plan, goal, frames, accelerator.prepare(loader), progress)

    def run(
        self,
        number: int,
        phase: Phase,
        done: int,
        state: State | None,
        keep: Callable[[int, EpochRecord, torch.optim.Optimizer], None],
    ) -> None:
        """Train one phase to its end.

        Args:
            number: place of the phase in the strategy (0-based); its random numbers depend on it.
            phase: what to train.
            done: epochs that are already over.
            state: where the optimizer's averages are, when `done` is not 0.
            keep: told after every epoch how many are over, what came of the last, and the optimizer.

        Raises:
            WorkFailed: a loss that is not a number.
        """
        recipe, accelerator = self.plan.recipe, self.accelerator
        if number:
            accelerator.free_memory()  # what it still holds of the phase before
        model = self.plan.model.to(accelerator.device)
        part = PhaseModel(model, phase, teacher=recipe.distillation > 0)
        optimizer, shares = make_optimizer(part, self.plan)
        if state is not None and done:
            state.into_optimizer(optimizer)
        order = Shuffled(len(self.frames))
        loader = training_loader(self.frames, order, recipe.batch_size)
        module, prepared, loader = accelerator.prepare(part, optimizer, loader)
        self.progress.phase(phase.name, phase.epochs, len(loader), done)
        for epoch in range(done, phase.epochs):
            began = time.perf_counter()
            place = (number, epoch)
            torch.manual_seed(derived(recipe.seed, "dropout", *place, accelerator.process_index))
            order.shuffle(generator(recipe.seed, "order", *place))
            rates = Rates(phase.epochs * len(loader), epoch * len(loader), recipe.learning_rate, shares)
            loss, losses = self._epoch(part, module, prepared, loader, rates, phase, place)
            metrics = evaluate(accelerator, module, self.calibration, self.goal)
            exits: dict[str, dict[str, float]] = {}
            for name, metric in zip(part.exits, metrics, strict=True):
                if name in phase.weights:
                    exits[name] = {"loss": losses[len(exits)], self.goal.metric: metric}
            seconds = time.perf_counter() - began
            record = EpochRecord(phase=phase.name, epoch=epoch + 1, loss=loss, seconds=seconds, exits=exits)
            keep(epoch + 1, record, optimizer)
            self.progress.epoch(record, phase.epochs)

    def _epoch(
        self,
        part: PhaseModel,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        loader: DataLoader[Batch],
        rates: Rates,
        phase: Phase,
        place: tuple[int, int],
    ) -> tuple[float, list[float]]:
        """One pass over the images: the mean loss of all exits together, and of each that trains."""
        recipe, accelerator = self.plan.recipe, self.accelerator
        maps = self._maps(place)
        weights = torch.tensor([phase.weights[e] for e in part.exits if e in phase.weights], device=accelerator.device)
        weights = weights / weights.sum()
        sums = torch.zeros(len(weights), dtype=torch.float64, device=accelerator.device)
        module.train()
        for pixels, targets, indices in loader:
            if maps is not None:
                pixels = warp(pixels, maps[indices])
            outputs = [answer.float() for answer in module(pixels)]
            losses = torch.stack(self.goal.losses(outputs, part.trained, targets, final=is_final(part.exits[-1])))
            loss = (losses * weights).sum()
            if not torch.isfinite(loss):
                raise WorkFailed(
                    f"the loss became {loss.item()} in phase {phase.name}, epoch {place[1] + 1}; a lower --lr than "
                    f"{recipe.learning_rate:g} may help"
                )
            rates.next(optimizer)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_([p for p in part.parameters() if p.requires_grad], CLIP)
            optimizer.step()
            sums += losses.detach()
            self.progress.step()
        means = accelerator.reduce(sums / len(loader), "mean")
        return (means * weights).sum().item(), means.tolist()

    def _maps(self, place: tuple[int, int]) -> Tensor | None:
        recipe, shape = self.plan.recipe, self.frames.shape
        if not recipe.augment:
            return None
        mirrored = parse(recipe.data_spec)[0] in MIRRORED
        random = generator(recipe.seed, "augment", *place)
        return draw(len(self.frames), shape[1:], mirrored, random).to(self.accelerator.device)


class Rates:
    """The learning rate of every step: a linear rise, then a cosine down to nothing."""

    def __init__(self, steps: int, done: int, peak: float, shares: list[float]) -> None:
        """Begin after `done` of a phase's `steps`; `shares` scale the rate of each parameter group."""
        self.steps, self.done, self.peak, self.shares = steps, done, peak, shares

    def next(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the rates of the coming step."""
        rise = min(1.0, (self.done + 1) / max(1.0, WARM_UP * self.steps))
        rate = self.peak * rise * (1 + math.cos(math.pi * self.done / self.steps)) / 2
        for group, share in zip(optimizer.param_groups, self.shares, strict=True):
            group["lr"] = rate * share
        self.done += 1


def make_optimizer(part: PhaseModel, plan: Plan) -> tuple[torch.optim.Optimizer, list[float]]:
    """AdamW over what trains, and the share of the learning rate each of its parameter groups takes.

    Biases, norms, positions and prefix tokens do not decay; weights that come from a checkpoint learn more slowly.
    """
    model: MultiExitModel = plan.model
    known: set[nn.Parameter] = set()
    if plan.pretrained:
        known |= set(model.backbone.stem.parameters()) | set(model.backbone.layers.parameters())
        known |= set() if plan.new_head else set(model.backbone.head.parameters())
    still = {getattr(model.backbone.stem, name, None) for name in ("positions", "prefix", "registers")}
    groups, shares = [], []
    trained = [p for p in part.parameters() if p.requires_grad]
    for loaded in (True, False):
        for decays in (True, False):
            chosen = [p for p in trained if (p in known) == loaded and (p.dim() > 1 and p not in still) == decays]
            if chosen:
                groups.append({"params": chosen, "weight_decay": plan.recipe.weight_decay if decays else 0.0})
                shares.append(PRETRAINED_FACTOR if loaded else 1.0)
    return torch.optim.AdamW(groups, lr=plan.recipe.learning_rate, fused=True), shares
