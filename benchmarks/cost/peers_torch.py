"""The multi-exit model as PyTorch users run it: forward hooks, torch.compile, earlyon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.models.multi_exit import MultiExitModel

Infer = Callable[[int], Any]


class _Stop(Exception):
    """Leaves the backbone from inside a hook."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits


def _sure(logits: Tensor, wanted: bool) -> bool:
    """The decision at an exit, as in `peers_worker`."""
    return bool(torch.softmax(logits, dim=-1).max().item() >= (0.0 if wanted else 1.1))


def _sequence(model: MultiExitModel) -> nn.Sequential:
    """The backbone with its head; child n is layer n."""
    return nn.Sequential(model.backbone.stem, *model.backbone.layers, model.backbone.head)


def hooks(model: MultiExitModel, pixels: Tensor) -> Infer:
    """A hook behind every layer with an exit runs the branch, and ends the forward pass with an exception."""
    whole = _sequence(model)
    wanted = [0]

    def hook(index: int, branch: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
        def answer(_module: nn.Module, _inputs: Any, tokens: Tensor) -> None:
            logits = branch(tokens)
            if _sure(logits, index == wanted[0]):
                raise _Stop(logits)

        return answer

    for index, exit_ in enumerate(model.config.exits):
        whole[exit_.layer].register_forward_hook(hook(index, model.branch(index)))

    def infer(exit_: int) -> Any:
        wanted[0] = exit_
        with torch.inference_mode():
            try:
                logits = whole(pixels)
                _sure(logits, wanted=True)
            except _Stop as stop:
                logits = stop.logits
        return logits[0].numpy()

    return infer


class _Stage(nn.Module):
    def __init__(self, segment: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.segment, self.branch = segment, branch

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.segment(inputs)
        return tokens, self.branch(tokens)


def compiled(model: MultiExitModel, pixels: Tensor) -> Infer:
    """Each segment with its branch compiled; decisions between them stay in Python, which no graph can hold."""
    stages = [torch.compile(_Stage(s, model.branch(i)), dynamic=False) for i, s in enumerate(model.segments())]
    torch._dynamo.config.recompile_limit = 4 * len(stages)  # type: ignore[attr-defined]

    def infer(exit_: int) -> Any:
        values = pixels
        with torch.inference_mode():
            for index, stage in enumerate(stages):
                values, logits = stage(values)
                if _sure(logits, index == exit_):
                    return logits[0].numpy()
        raise AssertionError("the wanted exit is always sure")

    return infer


def _wrapped(model: MultiExitModel) -> Any:
    from earlyon.core.types import EarlyExitConfig, ExitPoint
    from earlyon.core.wrappers import EarlyExitWrapper

    width = model.backbone.tokens.width
    points = [ExitPoint(f"e{i}", str(e.layer), width) for i, e in enumerate(model.config.exits)]
    config = EarlyExitConfig(backbone="custom", num_classes=model.config.outputs, exit_points=points)
    heads = {p.name: model.branch(i) for i, p in enumerate(points)}
    shape = (1, model.backbone.channels, *model.backbone.image_size)
    return EarlyExitWrapper(_sequence(model), heads, nn.Identity(), config, input_shape=shape).eval()


def earlyon(model: MultiExitModel, pixels: Tensor) -> Infer:
    """earlyon's wrapper, which hooks the backbone."""
    wrapper = _wrapped(model)
    return _earlyon(wrapper, wrapper, pixels)


def staged(model: MultiExitModel, pixels: Tensor) -> Infer:
    """earlyon's stages, its own way to deploy."""
    from earlyon.staged import staged_model

    wrapper = _wrapped(model)
    return _earlyon(wrapper, staged_model(wrapper).eval().infer, pixels)


def _earlyon(wrapper: Any, run: Callable[[Tensor], Any], pixels: Tensor) -> Infer:
    thresholds = wrapper.config.confidence_thresholds

    def infer(exit_: int) -> Any:
        thresholds[:] = [0.0 if index == exit_ else 1.0 for index in range(len(thresholds))]
        return run(pixels).prediction[0].numpy()

    return infer


KINDS: dict[str, Callable[[MultiExitModel, Tensor], Infer]] = {
    "hooks": hooks,
    "compiled": compiled,
    "earlyon": earlyon,
    "staged": staged,
}
