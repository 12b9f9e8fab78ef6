"""Modules that compute the same with other weights are converted to ONNX once: a ViT's layers, and its branches.

What a module computes is the program that `torch.export` traces from it, word for word. When a program comes up for
the second time, it is converted with made-up weights that tell which constant of the graph is which parameter; then
every module's own weights take their place. The file is the one that a conversion of the module itself gives, bit for
bit; where it might not be, because the exporter joined two parameters into one constant for example, the module is
converted itself.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import onnx

FLOATS = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Graph:
    """A converted module without its weights."""

    model: onnx.ModelProto
    weights: dict[str, tuple[str, bool]]
    """By constant: the parameter, and whether it is transposed."""
    dynamic_batch: bool

    def filled(self, module: nn.Module, name: str) -> bytes:
        """The serialised model with a module's weights.

        Args:
            module: that computes what this graph does.
            name: of the graph.
        """
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.name = name
        found = dict(module.named_parameters())
        for constant in model.graph.initializer:
            if constant.name in self.weights:
                parameter, transposed = self.weights[constant.name]
                constant.raw_data = _bytes(found[parameter], transposed)
        return model.SerializeToString()


class Alike:
    """What was converted so far, by program."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._graphs: dict[str, Graph | None] = {}

    def graph(self, module: nn.Module, key: str, convert: Callable[[nn.Module], tuple[bytes, bool]]) -> Graph | None:
        """The graph of modules like this; None for the first one, and where weights and constants cannot be told.

        Args:
            module: in eval mode.
            key: of what it computes, as `program` tells.
            convert: makes the serialised model of a module, and tells whether its batch is free.
        """
        if key not in self._seen:
            self._seen.add(key)
            return None
        if key not in self._graphs:
            self._graphs[key] = _convert(module, convert)
        return self._graphs[key]


def program(module: nn.Module, example: Tensor, dynamic_shapes: object) -> str | None:
    """SHA-256 of what a module computes, whatever its parameters' values; None where it cannot be traced.

    Args:
        module: in eval mode.
        example: an input.
        dynamic_shapes: as of `torch.export.export`.
    """
    try:
        traced = torch.export.export(module, (example,), dynamic_shapes=dynamic_shapes, strict=False)  # type: ignore[arg-type]
    except Exception:  # whatever the module's code raises; its own conversion says it
        return None
    digest = hashlib.sha256(f"{tuple(example.shape)} {traced.graph_module.code}".encode())
    for name, parameter in module.named_parameters():
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
    for name, value in (*module.named_buffers(), *sorted(traced.constants.items())):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def differ(module: nn.Module) -> bool:
    """Whether no two parameters hold the same values, and none the same one throughout: the exporter may use that."""
    values = [p.detach().contiguous().numpy() for p in module.parameters()]
    alone = len({hashlib.sha256(v.tobytes()).digest() for v in values}) == len(values)
    return alone and all(v.size > 1 and v.min() < v.max() for v in values)


def _convert(module: nn.Module, convert: Callable[[nn.Module], tuple[bytes, bool]]) -> Graph | None:
    if any(p.dtype not in FLOATS for p in module.parameters()):
        return None
    import onnx

    marked = copy.deepcopy(module)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in marked.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance, dtype=parameter.dtype))
    content, dynamic_batch = convert(marked)
    model = onnx.load_from_string(content)
    weights = _weights(model, marked)
    if weights is None:
        return None
    for constant in model.graph.initializer:
        if constant.name in weights:
            constant.ClearField("raw_data")
    return Graph(model, weights, dynamic_batch)


def _weights(model: onnx.ModelProto, marked: nn.Module) -> dict[str, tuple[str, bool]] | None:
    """Which constant is which parameter; None unless every parameter is found and every array of floats is one."""
    import onnx

    known = {}
    for name, parameter in marked.named_parameters():
        for transposed in (False, True) if parameter.ndim == 2 else (False,):
            known[_bytes(parameter, transposed)] = name, transposed
    if any(a.type in (a.TENSOR, a.SPARSE_TENSOR, a.FLOATS) for node in model.graph.node for a in node.attribute):
        return None
    found = {}
    for constant in model.graph.initializer:
        if constant.raw_data in known:
            found[constant.name] = known[constant.raw_data]
        elif np.prod(constant.dims) > 1 and np.issubdtype(onnx.numpy_helper.to_array(constant).dtype, np.inexact):
            return None
    return found if {name for name, _ in found.values()} == {n for n, _ in marked.named_parameters()} else None


def _bytes(parameter: Tensor, transposed: bool) -> bytes:
    values = parameter.detach().T if transposed else parameter.detach()
    return values.contiguous().numpy().tobytes()
