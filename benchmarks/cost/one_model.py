"""The one model that all contestants run: cut, whole, whole with every exit, and as PyTorch pickles it."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.cost.exported import DEPTH, check_even
from benchmarks.cost.fresh import profile_of
from benchmarks.models import cut_bundle, random_model, whole_bundle, with_samples
from jetson.bundle import Bundle
from jetson.files import write_file
from jetson.profiling.measure import measure
from toolkit.export.onnx import export_module
from toolkit.models.config import ExitConfig
from toolkit.models.multi_exit import MultiExitModel


class EveryExit(torch.nn.Module):
    """The model as one graph that computes all exits, whichever is wanted."""

    def __init__(self, model: MultiExitModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pixels to every exit's output."""
        return tuple(self.model(pixels))


def trained_alike(model: MultiExitModel) -> MultiExitModel:
    """The model with weights that differ everywhere, as trained ones do; fresh biases are all zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def multi_exit(size: str, image: int, patch: int, exits: int) -> MultiExitModel:
    """A ViT with an MLP branch after every so many layers, and its own head as the last exit.

    Raises:
        BadInput: so many exits do not lie evenly in its layers.
    """
    check_even(exits)
    layers = range(DEPTH // exits, DEPTH, DEPTH // exits)
    found = tuple(ExitConfig(layer=n, architecture="mlp") for n in layers)
    return trained_alike(random_model(size, image, patch, found, DEPTH))


def prepare(work: Path, size: str, image: int, patch: int, exits: int, threads: int) -> None:
    """Write what there is to load; what is there already is kept.

    Args:
        work: folder to write to.
        size: of the ViT.
        image: edge of its input, pixels.
        patch: edge of a patch, pixels.
        exits: the last layer's included.
        threads: to profile with; ONNX Runtime keeps to them in this process.
    """
    if not (work / "model.pt").exists():
        work.mkdir(parents=True, exist_ok=True)
        model = multi_exit(size, image, patch, exits)
        with_samples(cut_bundle(model, work / "cut"))
        whole_bundle(model, work / "whole")
        names = [f"output-{k}" for k in range(exits)]
        pixels = torch.randn(1, 3, image, image)
        content = export_module(EveryExit(model).eval(), pixels, "every", "pixels", names[0], names[1:]).content
        write_file(work / "every.onnx", content)
        torch.save(model, work / "model.pt")
    if not (file := profile_of(work, threads)).exists():
        measure(Bundle.open(work / "cut"), threads=threads, rounds=5, seconds=0, warm_up=1).save(file)
