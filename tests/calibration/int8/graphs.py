"""Small graphs, and ONNX Runtime to run them as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.int8 import session

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 4)).astype(np.float32)
NODE = helper.make_node


def graph(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Any],
    shape: Sequence[int | str] = ("batch", 3, 4),
    outputs: Mapping[str, Sequence[int | str] | None] | None = None,
    opset: int = 20,
    given: Mapping[str, Sequence[int]] | None = None,
) -> bytes:
    """A serialised model of the input `x`, and of `given` ones, with the output `y` or `outputs`."""
    constants = [numpy_helper.from_array(_single(np.asarray(v)), n) for n, v in weights.items()]
    inputs, ends = {"x": shape, **(given or {})}, outputs or {"y": None}
    made = helper.make_graph(
        list(nodes),
        "unit",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends.items()],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)  # gives the outputs their shapes
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float64 else values


def answers(content: bytes, x: np.ndarray) -> list[np.ndarray]:
    """All outputs."""
    return session.Session(content).run(x)


def nodes_of(content: bytes) -> list[onnx.NodeProto]:
    return list(onnx.load_from_string(content).graph.node)


def constants_of(content: bytes) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(content).graph.initializer}


def rounded(values: np.ndarray, scale: Any) -> np.ndarray:
    """What QuantizeLinear and DequantizeLinear leave of values; the scale may be one a channel, shaped to fit."""
    return (np.clip(np.rint(values / scale), -128, 127) * scale).astype(np.float32)
