"""Which nodes are put into int8, and what becomes of the rest of the graph."""

import platform
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calibration.int8.graph import LEVELS, SMALLEST_SCALE, per_channel, quantise, weighted_inputs
from jetson.errors import WorkFailed
from tests.calibration.int8.graphs import NODE, RNG, W, answers, constants_of, graph, nodes_of, rounded

X = RNG.normal(size=(2, 3, 4)).astype(np.float32)
ATTENTION = [
    NODE("LayerNormalization", ["x", "one"], ["n"], name="norm"),
    *(NODE("MatMul", ["n", f"w{p}"], [p], name=f"to {p}") for p in "qkv"),
    NODE("Transpose", ["k"], ["kt"], perm=[0, 2, 1], name="turn"),
    NODE("MatMul", ["q", "kt"], ["s"], name="scores"),
    NODE("Softmax", ["s"], ["p"], name="shares"),
    NODE("MatMul", ["p", "v"], ["a"], name="mix"),
    NODE("MatMul", ["a", "wo"], ["o"], name="out"),
    NODE("Add", ["o", "b"], ["ob"], name="bias"),
    NODE("Add", ["x", "ob"], ["y"], name="residual"),
]
WEIGHTS = {"one": np.ones(4), "wq": W, "wk": W * 2, "wv": W + 1, "wo": W - 1, "b": W[0]}


def test_weighted_inputs_are_those_of_constant_weights_each_once_and_in_order():
    assert weighted_inputs(graph(ATTENTION, WEIGHTS)) == ("n", "a")


def test_what_is_no_product_of_an_activation_and_a_weight():
    nodes = [
        NODE("MatMul", ["one", "w"], ["both constant"]),
        NODE("MatMul", ["w", "x"], ["constant first"]),
        NODE("MatMul", ["constant first", "v"], ["vector"]),
        NODE("MatMul", ["x", "default"], ["only a default"]),
        NODE("Mul", ["x", "w1"], ["scaled"]),
        NODE("Sum", ["both constant", "constant first", "only a default", "scaled"], ["y"]),
    ]
    weights = {"w": W, "one": np.ones((4, 4)), "v": W[0], "default": W, "w1": W}
    content = graph(nodes, weights, (1, 4, 4), given={"default": (4, 4)}, outputs={"y": None, "vector": None})
    assert weighted_inputs(content) == ()
    assert onnx.load_from_string(quantise(content, {}, "unit")) == onnx.load_from_string(content)


def test_one_pair_serves_all_readers_of_a_tensor_and_nothing_else_changes():
    content = graph(ATTENTION, WEIGHTS)
    made = quantise(content, {"n": 2.0, "a": 3.0}, "unit")
    nodes = nodes_of(made)
    assert [n.name for n in nodes if n.op_type == "QuantizeLinear"] == ["quantise n", "quantise a"]
    assert [n.name for n in nodes if n.op_type == "DequantizeLinear"] == [
        *("dequantise n", "dequantise wq", "dequantise wk", "dequantise wv", "dequantise a", "dequantise wo")
    ]
    inputs = {n.name: list(n.input) for n in nodes}
    assert inputs["to q"] == ["n_rounded", "wq_rounded"] and inputs["to v"] == ["n_rounded", "wv_rounded"]
    others = [n for n in nodes if n.name in ("norm", "turn", "scores", "shares", "mix", "bias", "residual")]
    assert others == [n for n in nodes_of(content) if not n.name.startswith(("to", "out"))]
    found = constants_of(made)
    assert {n: found[n] for n in ("n_scale", "a_scale")} == {
        "n_scale": np.float32(2 / LEVELS),
        "a_scale": np.float32(3 / LEVELS),
    }
    assert found["n_zero"] == 0 and found["n_zero"].dtype == found["wq_int8"].dtype == np.int8
    assert set(found) >= {"one", "b"} and not set(found) & {"wq", "wk", "wv", "wo"}


CASES = {
    "MatMul": (NODE("MatMul", ["x", "w"], ["y"]), {"w": RNG.normal(size=(4, 5))}, (2, 3, 4), 1),
    "MatMul, a weight for each frame": (
        NODE("MatMul", ["x", "w"], ["y"]),
        {"w": RNG.normal(size=(2, 4, 5))},
        (2, 3, 4),
        2,
    ),
    "Gemm": (NODE("Gemm", ["x", "w", "b"], ["y"]), {"w": RNG.normal(size=(4, 5)), "b": np.ones(5)}, (2, 4), 1),
    "Gemm, transposed and weighed": (
        NODE("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5, beta=3.0),
        {"w": RNG.normal(size=(5, 4)), "b": np.ones(5)},
        (2, 4),
        0,
    ),
    "Gemm, both transposed": (
        NODE("Gemm", ["x", "w"], ["y"], transA=1, transB=1),
        {"w": RNG.normal(size=(5, 2))},
        (2, 4),
        0,
    ),
    "Conv": (
        NODE("Conv", ["x", "w", "b"], ["y"]),
        {"w": RNG.normal(size=(6, 4, 3, 3)), "b": np.ones(6)},
        (2, 4, 5, 5),
        0,
    ),
    "Conv, in groups": (
        NODE("Conv", ["x", "w"], ["y"], group=2),
        {"w": RNG.normal(size=(6, 2, 1, 1))},
        (2, 4, 5, 5),
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_weight_and_input_are_rounded_and_the_bias_is_not(case):
    node, weights, shape, axis = CASES[case]
    weights = {n: np.asarray(v, np.float32) for n, v in weights.items()}
    # Channels of very different size: a scale along another axis would lose the small ones.
    sizes = np.logspace(-3, 3, weights["w"].shape[axis], dtype=np.float32)
    weights["w"] = weights["w"] * sizes.reshape([-1 if i == axis else 1 for i in range(weights["w"].ndim)])
    x = RNG.normal(size=shape).astype(np.float32)
    content = graph([node], weights, shape)
    made = quantise(content, {"x": 2.0}, "unit")
    (kept,) = (n for n in nodes_of(made) if n.op_type == node.op_type)
    bias = list(node.input[2:]) or ([f"w_axis{axis}_no_bias"] if node.op_type == "Gemm" else [])
    assert list(kept.attribute) == list(node.attribute) and list(kept.input[2:]) == bias
    others = tuple(i for i in range(weights["w"].ndim) if i != axis)
    scales = np.abs(weights["w"]).max(axis=others, keepdims=True) / 127
    expected = answers(graph([node], {**weights, "w": rounded(weights["w"], scales)}, shape), rounded(x, 2 / 127))[0]
    found = answers(made, x)[0]
    channels = 1 if node.op_type == "Conv" else expected.ndim - 1
    size = np.abs(expected).max(axis=tuple(i for i in range(expected.ndim) if i != channels), keepdims=True)
    assert (np.abs(found - expected) < 1e-4 * size).all()
    assert constants_of(made)["w_scale"].shape == (weights["w"].shape[axis],)


def test_a_residual_that_reads_the_same_tensor_is_not_rounded():
    nodes = [NODE("MatMul", ["x", "w"], ["m"]), NODE("Add", ["x", "m"], ["y"])]
    made = quantise(graph(nodes, {"w": np.zeros((4, 4))}), {"x": 0.5}, "unit")
    assert (answers(made, X)[0] == X).all()


def test_an_output_that_is_also_multiplied_is_not_rounded():
    nodes = [NODE("Tanh", ["x"], ["t"]), NODE("MatMul", ["t", "w"], ["y"])]
    content = graph(nodes, {"w": W}, outputs={"y": None, "t": None})
    assert (answers(quantise(content, {"t": 0.1}, "unit"), X)[1] == answers(content, X)[1]).all()


def test_a_weight_of_two_nodes_is_there_once():
    nodes = [NODE("MatMul", ["x", "w"], ["m"], name="1"), NODE("MatMul", ["m", "w"], ["y"], name="2")]
    made = quantise(graph(nodes, {"w": W}), {"x": 2.0, "m": 4.0}, "unit")
    assert [n.name for n in nodes_of(made)].count("dequantise w") == 1
    assert sorted(n for n in constants_of(made) if n.startswith("w")) == ["w_int8", "w_scale"]


def test_a_weight_that_is_read_along_two_axes_has_scales_along_both():
    weight = W * np.logspace(-2, 2, 4, dtype=np.float32)
    nodes = [NODE("Gemm", ["x", "w"], ["m"], transB=1), NODE("Gemm", ["m", "w"], ["y"])]
    found = constants_of(quantise(graph(nodes, {"w": weight}, (2, 4)), {"x": 2.0, "m": 4.0}, "unit"))
    assert found["w_scale"] == pytest.approx(np.abs(weight).max(axis=1) / 127)
    assert found["w_axis1_scale"] == pytest.approx(np.abs(weight).max(axis=0) / 127)
    assert "w" not in found


def test_a_weight_that_is_also_added_stays_exact_there():
    nodes = [NODE("MatMul", ["x", "w"], ["m"]), NODE("Mul", ["m", "none"], ["z"]), NODE("Add", ["z", "w"], ["y"])]
    content = graph(nodes, {"w": W, "none": np.zeros(1)}, (1, 4, 4))
    made = quantise(content, {"x": 2.0}, "unit")
    assert (answers(made, X[:1, [0, 1, 2, 0]])[0] == W).all() and "w" in constants_of(made)


@pytest.mark.parametrize("range_", [0.0, 1e-30])
def test_what_is_zero_throughout_gives_zero(range_):
    weight = W.copy()
    weight[:, 1] = 0
    made = quantise(graph([NODE("MatMul", ["x", "w"], ["y"])], {"w": weight}), {"x": range_}, "unit")
    found = constants_of(made)
    assert found["x_scale"] == found["w_scale"][1] == SMALLEST_SCALE == np.float16(SMALLEST_SCALE) > 0
    assert (answers(made, np.zeros_like(X))[0] == 0).all() and np.isfinite(answers(made, X)[0]).all()


def test_steps_are_symmetric_and_reach_the_end():
    steps, scales = per_channel(np.array([[-1.0, 0.5, 1.0], [-4.0, 2.0, 0.0]], np.float32), 0)
    assert steps.tolist() == [[-127, 64, 127], [-127, 64, 0]]
    assert scales == pytest.approx([1 / 127, 4 / 127])


def test_the_unit_keeps_its_ends_and_gets_no_notes():
    content = graph(ATTENTION, WEIGHTS, outputs={"y": ("batch", 3, 4)})
    made = quantise(content, {"n": 2.0, "a": 3.0}, "unit")
    before, after = onnx.load_from_string(content), onnx.load_from_string(made)
    assert after.graph.input == before.graph.input and after.graph.output == before.graph.output
    assert after.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert after.opset_import == before.opset_import and after.ir_version == before.ir_version
    assert (after.producer_name, after.graph.name) == (before.producer_name, before.graph.name)
    assert not after.metadata_props and not any(n.doc_string or n.metadata_props for n in after.graph.node)
    texts = re.findall(rb"[ -~]{4,}", made)
    assert not [t for t in texts for word in (str(Path.cwd()), platform.node()) if word and word.encode() in t]
    assert quantise(content, {"n": 2.0, "a": 3.0, "another": 1.0}, "unit") == made


def test_any_number_of_frames():
    made = quantise(graph(ATTENTION, WEIGHTS), {"n": 2.0, "a": 3.0}, "unit")
    for n in (1, 5):
        assert answers(made, np.repeat(X[:1], n, axis=0))[0].shape == (n, 3, 4)


def test_quantised_once_there_is_nothing_left_to_quantise():
    made = quantise(graph(ATTENTION, WEIGHTS), {"n": 2.0, "a": 3.0}, "unit")
    assert weighted_inputs(made) == ()


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({}, "there is no range for x"),
        ({"x": float("nan")}, "nan is no range for x"),
        ({"x": float("inf")}, "inf is no range for x"),
        ({"x": -1.0}, r"-1\.0 is no range for x"),
    ],
)
def test_ranges_that_are_none(ranges, says):
    content = graph([NODE("MatMul", ["x", "w"], ["y"])], {"w": W})
    with pytest.raises(WorkFailed, match=f"^unit segment-2: {says}$"):
        quantise(content, ranges, "segment-2")


def test_a_weight_that_is_not_a_number():
    content = graph([NODE("MatMul", ["x", "w"], ["y"])], {"w": np.where(W > 1, np.nan, W)})
    with pytest.raises(WorkFailed, match=r"^unit segment-2: weight w holds NaN or infinite values"):
        quantise(content, {"x": 1.0}, "segment-2")


def test_an_opset_without_scales_for_channels():
    content = graph([NODE("MatMul", ["x", "w"], ["y"])], {"w": W}, opset=11)
    with pytest.raises(WorkFailed, match=r"^unit segment-2: it cannot be put into int8: .*axis"):
        quantise(content, {"x": 1.0}, "segment-2")


def test_a_graph_with_a_subgraph_is_refused():
    value = helper.make_tensor_value_info("t", TensorProto.FLOAT, None)
    branches = [helper.make_graph([NODE(op, ["x"], ["t"])], op, [], [value]) for op in ("Tanh", "Neg")]
    content = graph(
        [NODE("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])], {"yes": np.array(True)}
    )
    with pytest.raises(WorkFailed, match=r"^unit segment-2: a graph with subgraphs"):
        quantise(content, {}, "segment-2")
