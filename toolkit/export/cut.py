"""The units a model is cut into, each with a hash of everything that shapes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from jetson.manifest import Tensor as TensorRecord
from toolkit.export import half
from toolkit.export.onnx import OPSET, REVISION
from toolkit.models.config import HEAD
from toolkit.models.multi_exit import MultiExitModel


@dataclass(frozen=True)
class UnitPlan:
    """A unit to be: its PyTorch module and the tensors at its ends."""

    name: str
    kind: Literal["segment", "branch"]
    layer: int
    module: nn.Module
    example: Tensor
    """A random input of the unit's shape, batch 1."""
    input: TensorRecord
    output: TensorRecord
    source: str


@dataclass(frozen=True)
class ExitPlan:
    """An exit to be: the units on its path, branch last."""

    name: str
    layer: int
    architecture: str
    units: tuple[str, ...]


def cut(model: MultiExitModel) -> tuple[list[UnitPlan], list[ExitPlan]]:
    """Cut a model at its exits.

    Returns:
        The units in running order (a segment, then the branches behind it, then the next segment) and the exits.
    """
    model.eval()
    backbone = model.backbone
    pixels = torch.randn(1, backbone.channels, *backbone.image_size)
    tokens = torch.randn(1, backbone.tokens.count, backbone.tokens.width)
    names = {layer: f"segment-{i}" for i, layer in enumerate(model.cuts, start=1)}
    units: list[UnitPlan] = []
    exits: list[ExitPlan] = []
    settings = msgspec.json.encode(model.config.backbone.transformers, order="sorted").decode()
    for segment in model.segments():
        example, source = (pixels, "pixels") if segment.first == 0 else (tokens, "tokens_in")
        shape = f"layers {segment.first + 1}..{segment.last} of {settings}"
        units.append(_plan(names[segment.last], "segment", segment.last, segment, example, source, "tokens_out", shape))
        for index, exit_ in enumerate(model.exits):
            if exit_.layer != segment.last:
                continue
            branch = model.branch(index)
            head = exit_.architecture == HEAD
            name = HEAD if head else f"branch-{exit_.layer}-{exit_.architecture}"
            shape = settings if head else msgspec.json.encode(exit_).decode()
            units.append(_plan(name, "branch", exit_.layer, branch, tokens, "tokens_in", "output", shape))
            path = tuple(names[layer] for layer in model.cuts if layer <= exit_.layer)
            exits.append(ExitPlan(exit_.name, exit_.layer, exit_.architecture, (*path, name)))
    return units, exits


def _plan(
    name: str,
    kind: Literal["segment", "branch"],
    layer: int,
    module: nn.Module,
    example: Tensor,
    source: str,
    target: str,
    shape: str,
) -> UnitPlan:
    with torch.no_grad():
        result = module(example)
    return UnitPlan(
        name=name,
        kind=kind,
        layer=layer,
        module=module,
        example=example,
        input=TensorRecord(name=source, shape=tuple(example.shape)),
        output=TensorRecord(name=target, shape=tuple(result.shape)),
        source=_source(module, example, shape),
    )


def _source(module: nn.Module, example: Tensor, shape: str) -> str:
    """SHA-256 over structure, weights, input shape and exporter: equal hashes give equal units."""
    import transformers

    facts = [
        REVISION,
        half.REVISION,
        OPSET,
        torch.__version__,
        transformers.__version__,
        tuple(example.shape),
        shape,
        repr(module),
    ]
    digest = hashlib.sha256(json.dumps(facts, default=str).encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
