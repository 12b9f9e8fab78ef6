"""Half precision: graphs whose operators take float16, do not, or only in some places."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from jetson.errors import WorkFailed
from toolkit.export.half import LARGEST, SMALLEST, to_half


def graph(nodes, weights, shape=(1, 4), out=None):
    """A model of one input `x` and one output `y`."""
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", out or shape))]
    made = helper.make_graph(nodes, "unit", ends[:1], ends[1:], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def run(content, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        options.use_per_session_threads = False
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except RuntimeError:  # no shared pool in this process yet
        options.use_per_session_threads = True
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def convert(nodes, weights, **options):
    """Both models' outputs on the same input, and the converted one."""
    content = graph(nodes, weights, **options)
    half = to_half(content, "unit")
    shape = options.get("shape", (1, 4))
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return run(content, x), run(half, x), onnx.load_from_string(half)


def weights_of(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


W = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)


def test_weights_and_arithmetic_are_half_and_the_ends_are_not():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])]
    full, half, model = convert(nodes, {"w": W})
    assert half.dtype == np.float32 and 0 < np.abs(half - full).max() < 5e-3
    assert weights_of(model)["w"].dtype == np.float16
    ends = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    assert ends == {"x": TensorProto.FLOAT, "y": TensorProto.FLOAT}
    assert [n.op_type for n in model.graph.node] == ["Cast", "MatMul", "Tanh", "Cast"]


def test_an_operator_that_knows_no_half_runs_in_full_between_casts():
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("DynamicQuantizeLinear", ["a"], ["bytes", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["back"]),
        helper.make_node("Tanh", ["back"], ["y"]),
    ]
    full, half, model = convert(nodes, {"w": W[:1]})
    assert half == pytest.approx(full, abs=3e-2)
    assert [n.op_type for n in model.graph.node].count("Cast") == 4 and weights_of(model)["w"].dtype == np.float16


def test_weights_of_another_type_than_the_output_and_a_type_that_is_only_a_default():
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("MelWeightMatrix", ["bins", "dft", "rate", "low", "high"], ["mel"]),
        helper.make_node("MatMul", ["a", "mel"], ["y"]),
    ]
    weights = {"w": W[:1], "bins": np.int64(4), "dft": np.int64(6), "rate": np.int64(8192)}
    weights |= {"low": np.float32(0.5), "high": np.float32(4000.0)}
    # ONNX Runtime has no half kernel for it; `to_half` has the types checked.
    found = weights_of(onnx.load_from_string(to_half(graph(nodes, weights), "unit")))
    assert {found[n].dtype for n in ("w", "low", "high")} == {np.dtype(np.float16)}


def test_an_input_that_must_stay_full_gets_a_full_one():
    """Resize takes half data, and its scales in full only."""
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    full, half, model = convert(
        nodes, {"scales": np.array([1, 1, 2, 2], np.float32)}, shape=(1, 1, 2, 2), out=(1, 1, 4, 4)
    )
    assert half == pytest.approx(full, abs=1e-2) and set(weights_of(model)) == {"scales_full"}


def test_a_weight_that_two_operators_need_in_two_types_is_there_twice():
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("Mul", ["r", "scales"], ["y"]),
    ]
    full, half, model = convert(
        nodes, {"scales": np.array([1, 1, 1, 2], np.float32)}, shape=(1, 1, 1, 2), out=(1, 1, 1, 4)
    )
    assert half == pytest.approx(full, abs=1e-2)
    assert {n: v.dtype for n, v in weights_of(model).items()} == {"scales": np.float16, "scales_full": np.float32}


def test_types_named_in_attributes_follow():
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Constant", [], ["row"], value=numpy_helper.from_array(W[:1])),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["sizes"], ["total"], keepdims=0),
        helper.make_node("Mul", ["x", "two"], ["a"]),
        helper.make_node("Add", ["a", "row"], ["b"]),
        helper.make_node("Add", ["b", "ones"], ["c"]),
        helper.make_node("Mul", ["c", "total"], ["y"]),
    ]
    full, half, _ = convert(nodes, {})
    assert half == pytest.approx(full, rel=1e-2, abs=1e-2)


def test_whole_numbers_stay_what_they_are():
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Gather", ["r", "i"], ["y"], axis=0)]
    full, half, model = convert(nodes, {"shape": np.array([4, 1]), "i": np.array([2, 0])}, out=(2, 1))
    assert half == pytest.approx(full, abs=1e-3)
    assert {v.dtype for v in weights_of(model).values()} == {np.dtype(np.int64)}


def test_an_output_that_is_read_again_inside():
    nodes = [helper.make_node("Tanh", ["x"], ["y"]), helper.make_node("Sigmoid", ["y"], ["unused"])]
    full, half, _ = convert(nodes, {})
    assert half == pytest.approx(full, abs=1e-3)


def test_an_input_that_goes_straight_out():
    full, half, _ = convert([helper.make_node("Identity", ["x"], ["y"])], {})
    assert half == pytest.approx(full, abs=1e-3)


def test_what_half_cannot_hold_becomes_its_largest_and_infinities_stay():
    weights = {"w": np.array([[1e9, -1e9, np.inf, -np.inf]], np.float32), "mask": np.float32(-3.4e38)}
    nodes = [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Max", ["a", "mask"], ["y"])]
    found = weights_of(onnx.load_from_string(to_half(graph(nodes, weights), "unit")))
    assert found["w"].tolist() == [[LARGEST, -LARGEST, np.inf, -np.inf]] and found["mask"] == -LARGEST


def test_a_small_constant_keeps_a_division_safe():
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Add", ["zero", "eps"], ["safe"]),
        helper.make_node("Div", ["zero", "safe"], ["y"]),
    ]
    _, half, model = convert(nodes, {"eps": np.float32(1e-12)})
    assert weights_of(model)["eps"] == np.float16(SMALLEST) > 0 and np.isfinite(half).all()


def test_a_graph_with_a_subgraph_is_refused():
    value = helper.make_tensor_value_info("t", TensorProto.FLOAT, (1, 4))
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["t"])], op, [], [value]) for op in ("Tanh", "Neg")]
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    content = graph([node], {"yes": np.bool_(True)})
    with pytest.raises(WorkFailed, match=r"unit segment-3: a graph with subgraphs .* half precision"):
        to_half(content, "segment-3")
