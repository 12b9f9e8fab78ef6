"""A unit in int8 whose rest goes into half precision: the scales go along, the eight bits stay."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.int8.graph import SMALLEST_SCALE, quantise, weighted_inputs
from calibration.int8.statistics import run
from toolkit.export.half import to_half

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 8, 6, 6)).astype(np.float32)
NODES = [
    helper.make_node("Conv", ["x", "kernel", "kb"], ["c"], name="conv"),
    helper.make_node("Gelu", ["c"], ["g"], name="gelu"),
    helper.make_node("ReduceMean", ["g", "axes"], ["r"], keepdims=0, name="mean"),
    helper.make_node("MatMul", ["r", "w"], ["m"], name="matmul"),
    helper.make_node("Add", ["m", "r"], ["a"], name="residual"),
    helper.make_node("Gemm", ["a", "v", "vb"], ["y"], transB=1, name="gemm"),
]
WEIGHTS = {
    "kernel": RNG.normal(size=(8, 8, 3, 3)) / 8,
    "kb": RNG.normal(size=8),
    "w": RNG.normal(size=(8, 8)),
    "v": RNG.normal(size=(5, 8)),
    "vb": RNG.normal(size=5),
}


@pytest.fixture(scope="module")
def full():
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in WEIGHTS.items()]
    constants.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in (("x", ("batch", 8, 6, 6)), ("y", ("batch", 5)))
    ]
    made = helper.make_graph(NODES, "unit", ends[:1], ends[1:], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def int8(full):
    assert weighted_inputs(full) == ("x", "r", "a")
    return quantise(full, {"x": 4.0, "r": 3.0, "a": 10.0}, "unit")


def constants_of(content):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(content).graph.initializer}


def test_scales_are_half_and_the_eight_bits_are_the_same(int8):
    before, after = constants_of(int8), constants_of(to_half(int8, "unit"))
    assert before.keys() == after.keys()
    assert {v.dtype for v in after.values()} == {np.dtype(t) for t in (np.float16, np.int8, np.int64)}
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-3) if name.endswith("_scale") else True
        assert (after[name] == value).all() if value.dtype == np.int8 else True


def test_nothing_is_cast_on_the_way(int8):
    kinds = [n.op_type for n in onnx.load_from_string(to_half(int8, "unit")).graph.node]
    assert kinds == ["Cast", *(n.op_type for n in onnx.load_from_string(int8).graph.node), "Cast"]


def test_onnx_runtime_runs_both_and_they_are_equally_close(full, int8):
    expected, whole, half = (np.concatenate(run(c, [X])) for c in (full, int8, to_half(int8, "unit")))
    errors = [np.linalg.norm(found - expected) / np.linalg.norm(expected) for found in (whole, half)]
    assert 0 < errors[0] < 0.03 and 0 < errors[1] < 1.3 * errors[0]


def test_the_smallest_scale_is_still_above_zero(full):
    """TensorRT refuses a scale of zero."""
    found = constants_of(to_half(quantise(full, {"x": 0.0, "r": 1e-12, "a": 10.0}, "unit"), "unit"))
    assert found["x_scale"] == found["r_scale"] == SMALLEST_SCALE > 0
