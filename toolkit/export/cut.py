"""The units a model is cut into, each with a hash of everything that shapes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from jetson.manifest import Tensor as TensorRecord
from toolkit.export import half
from toolkit.export.onnx import OPSET, REVISION
from toolkit.models.config import HEAD
from toolkit.models.multi_exit import MultiExitModel, Segment


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
    fused: str | None = None
    """Of a branch: the segment whose graph it is part of; then it has no graph of its own."""
    further: tuple[UnitPlan, ...] = ()
    """Of a segment: the branches that are fused into it."""

    @property
    def graph(self) -> nn.Module:
        """What is exported: the module, and with it the branches that are fused into it."""
        return Fused(self.module, [b.module for b in self.further]) if self.further else self.module


@dataclass(frozen=True)
class ExitPlan:
    """An exit to be: the units on its path, branch last."""

    name: str
    layer: int
    architecture: str
    units: tuple[str, ...]


class Fused(nn.Module):
    """A segment and branches that read its tokens, as one module."""

    def __init__(self, segment: nn.Module, branches: list[nn.Module]) -> None:
        super().__init__()
        self.segment, self.branches = segment, nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Pixels or tokens to tokens (batch, n, width) and each branch's answer (batch, outputs)."""
        tokens = self.segment(inputs)
        return (tokens, *(branch(tokens) for branch in self.branches))


def cut(
    model: MultiExitModel, layers: Collection[int] = (), fused: Collection[str] = ()
) -> tuple[list[UnitPlan], list[ExitPlan]]:
    """Cut a model at its exits.

    Args:
        model: to cut.
        layers: further layers to cut after.
        fused: names of exits whose branch becomes part of the segment before it.

    Returns:
        The units in running order (a segment, then the branches behind it, then the next segment) and the exits.
    """
    model.eval()
    backbone = model.backbone
    pixels = torch.randn(1, backbone.channels, *backbone.image_size)
    ends = sorted({*model.cuts, *layers})
    names = {layer: f"segment-{i}" for i, layer in enumerate(ends, start=1)}
    tokens = pixels
    units: list[UnitPlan] = []
    exits: list[ExitPlan] = []
    shapes = model.config.backbone.transformers, model.config.backbone.code
    settings = msgspec.json.encode(shapes[0] if shapes[1] is None else shapes, order="sorted").decode()
    for first, last in zip((0, *ends[:-1]), ends, strict=True):
        example, source = (pixels, "pixels") if first == 0 else (tokens, "tokens_in")
        tokens = torch.randn(1, *backbone.shapes[last - 1].size)
        shape = f"layers {first + 1}..{last} of {settings}"
        module = Segment(backbone, first, last)
        segment = _plan(names[last], "segment", last, module, example, source, "tokens_out", shape)
        branches: list[UnitPlan] = []
        for index, exit_ in enumerate(model.exits):
            if exit_.layer != last:
                continue
            head = exit_.architecture == HEAD
            name = HEAD if head else f"branch-{exit_.layer}-{exit_.architecture}"
            shape = settings if head else msgspec.json.encode(exit_).decode()
            inside = exit_.name in fused
            answer = f"{name}-output" if inside else "output"
            branch = _plan(name, "branch", last, model.branch(index), tokens, "tokens_in", answer, shape)
            branches.append(replace(branch, fused=segment.name) if inside else branch)
            path = tuple(names[layer] for layer in ends if layer <= last)
            exits.append(ExitPlan(exit_.name, last, exit_.architecture, (*path, name)))
        units += [together(segment, [b for b in branches if b.fused is not None]), *branches]
    return units, exits


def together(segment: UnitPlan, branches: list[UnitPlan]) -> UnitPlan:
    """A segment with branches fused into it, which may be none."""
    if not branches:
        return segment
    sources = " ".join([segment.source, *(f"{b.name} {b.source}" for b in branches)])
    return replace(segment, further=tuple(branches), source=hashlib.sha256(sources.encode()).hexdigest())


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
