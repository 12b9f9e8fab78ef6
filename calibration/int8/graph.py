"""A unit's graph in int8: explicit, symmetric, and only where a weight is multiplied.

The input of a MatMul, Gemm or Conv with a constant weight passes through QuantizeLinear and DequantizeLinear, the
weight is stored as int8 behind a DequantizeLinear with one scale per output channel. Everything else stays as it is:
products of two activations, sums, softmax, norms, biases, outputs. More than that ruins a ViT.

The nodes are written here. ONNX Runtime's quantiser (`QDQQuantizer`) gives the same for the units of today, but it
puts the pair in front of every reader of a tensor: a residual sum that reads what a MatMul reads is rounded too, and so
is an output of the graph. It does the same to every reader of a weight; one that two nodes read along different axes
gets a single axis. The beta of a Gemm becomes 1 even where its bias stays in float, and the nodes it may touch are
chosen by names that a graph need not have. None of these has a switch. See docs/decisions/0008-int8.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jetson.errors import WorkFailed, first_line, missing_extra

if TYPE_CHECKING:
    import onnx

REVISION = 2
"""Raised whenever this code writes another graph for the same unit and the same ranges."""
LEVELS = 127
"""Steps on either side of zero. The one more that int8 has below is not for weights; QuantizeLinear uses it to clip."""
SMALLEST_SCALE = 2.0**-24
"""TensorRT takes scales above zero only, and this is the smallest number above zero that half precision has. It stands
for the scale of a tensor that is zero throughout."""
OPERATORS = ("MatMul", "Gemm", "Conv")


class Weighted(NamedTuple):
    """A node that multiplies an activation with a constant."""

    place: int
    """Among the nodes of its graph."""
    node: onnx.NodeProto
    axis: int
    """Of the weight's output channels."""


def weighted_inputs(content: bytes) -> tuple[str, ...]:
    """The activations that are multiplied with a weight: what `quantise` needs ranges of.

    Args:
        content: a serialised ONNX model, weights inside.

    Returns:
        Names of tensors that are the first input of a MatMul, Gemm or Conv whose second input is a float32
        initializer; in graph order, each once.

    Raises:
        MissingExtra: onnx is not installed.
    """
    model = _onnx().load_model_from_string(content)
    return tuple(dict.fromkeys(w.node.input[0] for w in weighted_nodes(model.graph)))


def quantise(content: bytes, ranges: Mapping[str, float], name: str) -> bytes:
    """Put a unit into int8.

    Args:
        content: the unit in float32: a serialised ONNX model, weights inside.
        ranges: for each of the `weighted_inputs` the largest absolute value that int8 shall hold; what is larger is
            clipped to it. Further entries are not looked at.
        name: of the unit, for messages.

    Returns:
        The serialised model with the same inputs, outputs and opset. A weight that some other node reads in float32 is
        in it in both forms, any other weight in one.

    Raises:
        MissingExtra: onnx is not installed.
        WorkFailed: a range is missing or is no range, a weight holds NaN or infinities, the graph holds subgraphs, or
            is not valid afterwards.
    """
    onnx = _onnx()
    model = onnx.load_model_from_string(content)
    nested = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if any(a.type in nested for n in model.graph.node for a in n.attribute):
        raise WorkFailed(f"unit {name}: a graph with subgraphs cannot be put into int8")
    _Writer(model.graph, ranges, name).write()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise WorkFailed(f"unit {name}: it cannot be put into int8: {first_line(error)}") from error
    return bytes(model.SerializeToString())


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise missing_extra("onnx", "host") from None
    return onnx


def weighted_nodes(graph: onnx.GraphProto) -> Iterator[Weighted]:
    """The nodes that `quantise` is about, in graph order.

    A weight that is also an input of the graph is only a default value, so it is not constant.
    """
    full = _onnx().TensorProto.FLOAT
    constants = {t.name for t in graph.initializer} - {i.name for i in graph.input}
    ranks = {t.name: len(t.dims) for t in graph.initializer if t.name in constants and t.data_type == full}
    for place, node in enumerate(graph.node):
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx") or node.input[0] in constants:
            continue
        rank = ranks.get(node.input[1], 0)
        if rank < 2:  # a vector has no output channels
            continue
        if node.op_type == "Conv":
            axis = 0
        elif node.op_type == "Gemm":
            axis = 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
        else:
            axis = rank - 1
        yield Weighted(place, node, axis)


class _Writer:
    """Rewrites one graph in place."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, float], name: str) -> None:
        self.onnx = _onnx()
        self.graph, self.ranges, self.name = graph, ranges, name
        self.weights = {t.name: t for t in graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.activations: dict[str, str] = {}
        """Dequantised copy of each activation."""
        self.channels: dict[tuple[str, int], str] = {}
        """Dequantised copy of each weight, by the axis of its scales."""
        self.no_biases: dict[tuple[str, int], str] = {}
        """Zeros in the place of a bias, by the same."""

    def write(self) -> None:
        """The new nodes stand before the first that reads them, so the order stays a valid one."""
        axes = {w.place: w.axis for w in weighted_nodes(self.graph)}
        for place, node in enumerate(self.graph.node):
            if place in axes:
                node.input[0] = self._activation(node.input[0])
                weight = node.input[1]
                node.input[1] = self._weight(weight, axes[place])
                if node.op_type == "Gemm" and not any(node.input[2:]):
                    # ONNX Runtime 1.23, Python 3.10's last, fails on one without a bias.
                    del node.input[2:]
                    node.input.append(self._no_bias(weight, axes[place]))
            self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        self._drop_replaced()
        self.graph.initializer.extend(self.constants)

    def _activation(self, tensor: str) -> str:
        if tensor not in self.activations:
            scale = self._constant(f"{tensor}_scale", np.float32(self._scale(tensor)))
            zero = self._constant(f"{tensor}_zero", np.int8(0))  # its type is that of the result
            self._node("QuantizeLinear", f"quantise {tensor}", [tensor, scale, zero], f"{tensor}_int8")
            self._node("DequantizeLinear", f"dequantise {tensor}", [f"{tensor}_int8", scale, zero], f"{tensor}_rounded")
            self.activations[tensor] = f"{tensor}_rounded"
        return self.activations[tensor]

    def _scale(self, tensor: str) -> float:
        if tensor not in self.ranges:
            raise WorkFailed(f"unit {self.name}: there is no range for {tensor}")
        range_ = float(self.ranges[tensor])
        if not 0 <= range_ < np.finfo(np.float32).max:
            raise WorkFailed(f"unit {self.name}: {range_} is no range for {tensor}")
        return max(range_ / LEVELS, SMALLEST_SCALE)

    def _weight(self, weight: str, axis: int) -> str:
        if (weight, axis) not in self.channels:
            values = self.onnx.numpy_helper.to_array(self.weights[weight])
            if not np.isfinite(values).all():
                raise WorkFailed(f"unit {self.name}: weight {weight} holds NaN or infinite values")
            # A second axis is rare: two nodes that share a weight, one of them transposed.
            stem = weight if all(w != weight for w, _ in self.channels) else f"{weight}_axis{axis}"
            steps, scales = per_channel(values, axis)
            inputs = [self._constant(f"{stem}_int8", steps), self._constant(f"{stem}_scale", scales)]
            self._node("DequantizeLinear", f"dequantise {stem}", inputs, f"{stem}_rounded", axis=axis)
            self.channels[weight, axis] = f"{stem}_rounded"
        return self.channels[weight, axis]

    def _no_bias(self, weight: str, axis: int) -> str:
        if (weight, axis) not in self.no_biases:
            name = f"{weight}_axis{axis}_no_bias"
            channels = self.weights[weight].dims[axis]
            self.no_biases[weight, axis] = self._constant(name, np.zeros(channels, np.float32))
        return self.no_biases[weight, axis]

    def _constant(self, name: str, value: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, name: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=name, **attributes))

    def _drop_replaced(self) -> None:
        """Weights that nothing reads in float32 any more."""
        read = {i for n in self.graph.node for i in n.input} | {o.name for o in self.graph.output}
        replaced = {weight for weight, _ in self.channels} - read
        kept = [t for t in self.graph.initializer if t.name not in replaced]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def per_channel(weight: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """A weight in int8, symmetric, with the range of each output channel taken from its largest absolute value.

    Args:
        weight: finite, at least one value a channel.
        axis: of the output channels.

    Returns:
        The steps, shaped like the weight, and the scales, one a channel; their product is the rounded weight.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peaks = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.maximum(peaks / np.float32(LEVELS), np.float32(SMALLEST_SCALE))
    steps = np.clip(np.rint(weight / scales), -LEVELS, LEVELS).astype(np.int8)
    return steps, scales.ravel().astype(np.float32)
