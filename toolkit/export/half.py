"""A unit in half precision: weights and arithmetic in float16, what goes in and out still float32.

The graph itself carries the precision, since TensorRT's strongly typed networks take no other hint. Which operator
takes float16 is read from ONNX's own operator schemas, so that any exported graph can be converted: an input that must
stay float32 is given one, and an operator that knows no float16 runs in float32 between two casts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jetson.errors import WorkFailed, first_line

if TYPE_CHECKING:
    import onnx

REVISION = 1
"""Raised whenever this code writes another graph for the same unit."""
LARGEST = float(np.finfo(np.float16).max)
SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
HALF = "tensor(float16)"
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype")
"""Attributes that name the type of a node's output."""


def to_half(content: bytes, name: str) -> bytes:
    """Convert a serialised ONNX model.

    Args:
        content: float32, one input and one output, weights inside.
        name: of the unit, for messages.

    Returns:
        The serialised model in half precision; the names and types of its input and output are the same.

    Raises:
        WorkFailed: the graph holds subgraphs or functions, or is not valid afterwards.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    nested = any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in _attributes(model))
    if nested or len(model.functions):
        raise WorkFailed(f"unit {name}: a graph with subgraphs or functions cannot be converted to half precision")
    try:
        _Converter(model).convert()
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, onnx.defs.SchemaError) as error:
        raise WorkFailed(f"unit {name}: it cannot be converted to half precision: {first_line(error)}") from error
    return model.SerializeToString()


def _attributes(model: onnx.ModelProto) -> list[onnx.AttributeProto]:
    return [a for n in model.graph.node for a in n.attribute]


class _Converter:
    """Rewrites one graph in place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self.onnx = onnx
        self.graph = model.graph
        self.opsets = {o.domain: o.version for o in model.opset_import}
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
        ends = (*inferred.value_info, *inferred.input, *inferred.output)
        self.floats = {v.name for v in ends if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self.weights = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
        self.floats |= set(self.weights)
        self.nodes: list[onnx.NodeProto] = []
        self.cast: dict[tuple[str, int], str] = {}
        """Float32 copies that exist already."""
        self.kept: set[str] = set()
        """Weights that some node needs in float32."""
        self.used: set[str] = set()
        """Weights that some node takes in float16."""

    def convert(self) -> None:
        """Inputs, nodes in their order, outputs, weights."""
        half = self.onnx.TensorProto.FLOAT16
        rename = {}
        for value in self.graph.input:
            if value.name in self.floats:
                rename[value.name] = self._add_cast(value.name, f"{value.name}_half", half)
        ends = {v.name: f"{v.name}_half" for v in self.graph.output if v.name in self.floats}
        for node in self.graph.node:
            for place, source in enumerate(node.input):
                node.input[place] = rename.get(source, ends.get(source, source))
            for place, target in enumerate(node.output):
                node.output[place] = ends.get(target, target)
        self.floats |= set(rename.values()) | set(ends.values())
        for node in self.graph.node:
            self._convert_node(node)
        for end, inner in ends.items():
            self._add_cast(inner, end, self.onnx.TensorProto.FLOAT)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]
        self._convert_weights()

    def _convert_node(self, node: onnx.NodeProto) -> None:
        schema = self.onnx.defs.get_schema(node.op_type, self.opsets[node.domain], node.domain)
        allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
        for place, name in enumerate(node.input):
            if name in self.floats and HALF not in self._types(schema.inputs, place, allowed):
                node.input[place] = self._in_full(name)
            elif name in self.weights:
                self.used.add(name)
        self._convert_attributes(node, schema)
        after = []
        for place, name in enumerate(node.output):
            if name in self.floats and HALF not in self._types(schema.outputs, place, allowed):
                node.output[place] = f"{name}_full"
                after.append((f"{name}_full", name))
        self.nodes.append(node)
        for source, target in after:
            self._add_cast(source, target, self.onnx.TensorProto.FLOAT16)

    @staticmethod
    def _types(formal: Any, place: int, allowed: dict[str, set[str]]) -> set[str]:
        """What the schema lets stand at a place; the last formal parameter takes all further ones."""
        kind = formal[min(place, len(formal) - 1)].type_str
        return allowed.get(kind, {kind})

    def _convert_attributes(self, node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> None:
        """A node that names the type of its output, or holds its value."""
        full, half = self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.FLOAT16
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i == full:
                attribute.i = half
            elif attribute.name == "value" and attribute.t.data_type == full:
                attribute.t.CopyFrom(self._half(attribute.t))
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                value = attribute.f if attribute.name == "value_float" else list(attribute.floats)
                tensor = self.onnx.numpy_helper.from_array(np.asarray(value, np.float32))
                replacement = self.onnx.helper.make_attribute("value", self._half(tensor))
                attribute.CopyFrom(replacement)
        given = {a.name for a in node.attribute}
        for name, attribute in schema.attributes.items():
            if name in TYPE_ATTRIBUTES and name not in given and attribute.default_value.i == full:
                node.attribute.append(self.onnx.helper.make_attribute(name, half))

    def _in_full(self, name: str) -> str:
        """The float32 copy of a tensor: the weight as it was, or a cast back."""
        if name in self.weights:
            self.kept.add(name)
            return f"{name}_full"
        return self._add_cast(name, f"{name}_as_full", self.onnx.TensorProto.FLOAT)

    def _add_cast(self, source: str, target: str, to: int) -> str:
        key = (source, to)
        if key not in self.cast:
            self.nodes.append(self.onnx.helper.make_node("Cast", [source], [target], name=f"cast {target}", to=to))
            self.cast[key] = target
        return self.cast[key]

    def _convert_weights(self) -> None:
        others = [t for t in self.graph.initializer if t.name not in self.weights]
        del self.graph.initializer[:]
        self.graph.initializer.extend(others)
        for name, tensor in self.weights.items():
            if name in self.used:
                self.graph.initializer.append(self._half(tensor))
            if name in self.kept:
                copy = self.graph.initializer.add()
                copy.CopyFrom(tensor)
                copy.name = f"{name}_full"

    def _half(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        """The tensor in float16. What float16 cannot hold becomes its largest number; infinities stay.

        A single constant that would vanish (the small number that keeps a division safe) becomes the smallest one.
        """
        values = self.onnx.numpy_helper.to_array(tensor)
        finite = np.isfinite(values)
        with np.errstate(over="ignore"):
            half = np.where(finite, np.clip(values, -LARGEST, LARGEST), values).astype(np.float16)
        if half.size == 1 and not half.any() and values.any():
            half = np.full_like(half, np.copysign(SMALLEST, values.ravel()[0]))
        return self.onnx.numpy_helper.from_array(half, tensor.name)
