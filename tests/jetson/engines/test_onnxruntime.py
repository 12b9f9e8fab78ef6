import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from jetson import Budget, Runtime
from jetson.engines import load_engines
from jetson.engines import onnxruntime as module
from jetson.errors import BadInput, EngineError
from jetson.manifest import Tensor
from tests.bundles import edit_manifest, make_model, replace_unit, segment_graph, tiny_bundle

ROOT = Path(__file__).resolve().parents[3]
FRAME = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def engines(bundle):
    loaded = load_engines(bundle)
    yield loaded
    loaded.close()


def plain_run(bundle, pixels):
    """Every unit's output, from sessions of their own and arrays of their own."""
    outputs, tokens = {}, {}
    for unit in bundle.manifest.units:
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False  # a process that has a shared pool allows nothing else
        session = onnxruntime.InferenceSession(bundle.file(unit), options, providers=["CPUExecutionProvider"])
        before = pixels if unit.name == "segment-1" else tokens["now"]
        (outputs[unit.name],) = session.run(None, {unit.input.name: before})
        if unit.kind == "segment":
            tokens["now"] = outputs[unit.name]
    return outputs


def test_outputs_equal_a_plain_run_bit_for_bit(bundle, engines):
    pixels = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    expected = plain_run(bundle, pixels)
    engines.input[...] = pixels
    for index, unit in enumerate(bundle.manifest.units):
        engines.run(index)
        assert engines.output(index).tobytes() == expected[unit.name].tobytes(), unit.name
        assert np.abs(expected[unit.name]).max() > 0.01


def test_a_segment_writes_where_the_next_units_read(bundle, engines):
    """Nothing is copied in between: what stands in a segment's output is what the units behind it see."""
    names = [u.name for u in bundle.manifest.units]
    for index in range(len(names)):
        engines.run(index)
    first, branch, second = (names.index(n) for n in ("segment-1", "branch-2-mlp", "segment-2"))
    engines.output(first)[...] = 0.25
    engines.run(branch)
    engines.run(second)
    other = load_engines(bundle)
    other.output(first)[...] = 0.25
    other.run(branch)
    other.run(second)
    assert engines.output(branch).tobytes() == other.output(branch).tobytes()
    assert engines.output(second).tobytes() == other.output(second).tobytes()
    engines.output(first)[...] = -0.25
    engines.run(branch)
    assert engines.output(branch).tobytes() != other.output(branch).tobytes()
    other.close()


def test_tokens_alternate_between_two_buffers_and_branches_have_their_own(bundle, engines):
    names = [u.name for u in bundle.manifest.units]
    tokens = [engines.output(names.index(f"segment-{i}")) for i in (1, 2, 3)]
    assert np.shares_memory(tokens[0], tokens[2]) and not np.shares_memory(tokens[0], tokens[1])
    answers = [engines.output(i) for i, u in enumerate(bundle.manifest.units) if u.kind == "branch"]
    for place, answer in enumerate(answers):
        assert answer.shape == (1, 3) and answer.ctypes.data % module.ALIGNMENT == 0
        assert not any(np.shares_memory(answer, other) for other in [*answers[:place], *tokens, engines.input])


def test_a_branch_does_not_change_the_tokens(bundle, engines):
    names = [u.name for u in bundle.manifest.units]
    engines.input[...] = 1.0
    engines.run(names.index("segment-1"))
    before = engines.output(names.index("segment-1")).tobytes()
    for name in ("branch-2-mlp", "branch-2-cnn-add"):
        engines.run(names.index(name))
    assert engines.output(names.index("segment-1")).tobytes() == before


def test_the_last_answer_does_not_depend_on_the_branches_taken(bundle):
    runtime = Runtime.load(bundle)
    straight = runtime.infer(FRAME)
    winding = runtime.infer(FRAME, Budget.unknown())
    assert straight.output.tobytes() == winding.output.tobytes()
    assert len(straight.trace) == 4 and len(winding.trace) == 7


def test_runs_allocate_nothing_new_to_answer_with(bundle, engines):
    before = [engines.output(i).ctypes.data for i in range(len(bundle.manifest.units))]
    for _ in range(3):
        for index in range(len(before)):
            engines.run(index)
    assert [engines.output(i).ctypes.data for i in range(len(before))] == before


def refuses(bundle, says):
    with pytest.raises(EngineError, match=says) as caught:
        load_engines(bundle)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1


def test_a_file_that_is_no_onnx_is_named(bundle):
    refuses(replace_unit(bundle, "segment-2", b"not an onnx file"), "unit segment-2: ONNX Runtime cannot load it")
    refuses(replace_unit(bundle, "segment-1", b""), "unit segment-1: ONNX Runtime cannot load it")


def test_an_onnx_file_cut_short_is_named(bundle):
    content = bundle.file(bundle.manifest.unit("head")).read_bytes()
    refuses(replace_unit(bundle, "head", content[:-50]), "unit head: ")


def test_an_operator_nobody_knows_is_named(bundle):
    ends = [Tensor(name=n, shape=(1, 8, 16)) for n in ("tokens_in", "tokens_out")]
    model = make_model("x", [helper.make_node("Teleport", ["tokens_in"], ["tokens_out"])], *ends, {})
    refuses(replace_unit(bundle, "segment-2", model.SerializeToString()), "unit segment-2: .*Teleport")


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (Tensor(name="tokens", shape=(1, 8, 16)), Tensor(name="tokens_out", shape=(1, 8, 16)), "its input is"),
        (Tensor(name="tokens_in", shape=(1, 8, 24)), Tensor(name="tokens_out", shape=(1, 8, 16)), "its input is"),
        (Tensor(name="tokens_in", shape=(1, 8, 16)), Tensor(name="tokens_out", shape=(1, 8, 24)), "its output is"),
        (Tensor(name="tokens_in", shape=(1, 8, 16)), Tensor(name="out", shape=(1, 8, 16)), "its output is"),
    ],
)
def test_a_unit_of_another_signature_is_refused_before_it_writes_anywhere(bundle, source, target, says):
    model = segment_graph(np.random.default_rng(0), "segment-2", source, target)
    refuses(
        replace_unit(bundle, "segment-2", model.SerializeToString()),
        f"unit segment-2: {says} .*, the manifest says .*; build again",
    )


def test_a_unit_of_open_shape_is_refused(bundle):
    model = onnx.load(bundle.file(bundle.manifest.unit("segment-2")))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    refuses(replace_unit(bundle, "segment-2", model.SerializeToString()), "unit segment-2: its input is .*'n'")


def test_a_unit_of_another_type_or_with_two_inputs_is_refused(bundle):
    shape = (1, 8, 16)
    info = helper.make_tensor_value_info
    halves = helper.make_graph(
        [helper.make_node("Tanh", ["tokens_in"], ["tokens_out"])],
        "halves",
        [info("tokens_in", TensorProto.FLOAT16, shape)],
        [info("tokens_out", TensorProto.FLOAT16, shape)],
    )
    pair = helper.make_graph(
        [helper.make_node("Add", ["tokens_in", "more"], ["tokens_out"])],
        "pair",
        [info("tokens_in", TensorProto.FLOAT, shape), info("more", TensorProto.FLOAT, shape)],
        [info("tokens_out", TensorProto.FLOAT, shape)],
    )
    for graph in (halves, pair):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        refuses(replace_unit(bundle, "segment-2", model.SerializeToString()), "unit segment-2: its input is")


def test_a_manifest_that_renames_a_tensor_is_refused(bundle):
    edit_manifest(bundle.path, lambda m: m["units"][1]["output"].update(name="logits"))
    refuses(type(bundle).open(bundle.path), "unit branch-2-mlp: its output is .*build again")


def test_a_unit_that_fails_when_it_runs_is_named(bundle):
    """A gather beyond the end can only be found out while running."""
    ends = [Tensor(name=n, shape=(1, 8, 16)) for n in ("tokens_in", "tokens_out")]
    cast = helper.make_node("Cast", ["tokens_in"], ["whole"], to=TensorProto.INT64)
    flat = helper.make_node("Reshape", ["whole", "row"], ["index"])
    pick = helper.make_node("Gather", ["table", "index"], ["found"])
    back = helper.make_node("Reshape", ["found", "shape"], ["tokens_out"])
    constants = {
        "row": np.array([128]),
        "shape": np.array([1, 8, 16]),
        "table": np.zeros(1, np.float32),
    }
    model = make_model("x", [cast, flat, pick, back], *ends, constants)
    engines = load_engines(replace_unit(bundle, "segment-2", model.SerializeToString()))
    engines.output(0)[...] = 99.0
    with pytest.raises(EngineError, match="unit segment-2 failed in ONNX Runtime: ") as caught:
        engines.run(3)
    assert "\n" not in str(caught.value)
    engines.output(0)[...] = 0.0
    engines.run(3)
    assert (engines.output(3) == 0).all()


@pytest.mark.parametrize("threads", [0, -5, 1025, 1_000_000, 2**70])
def test_a_number_of_threads_that_cannot_be_is_refused(bundle, threads):
    with pytest.raises(BadInput, match="threads cannot be had; give 1 to 1024"):
        load_engines(bundle, threads=threads)


def test_the_engines_say_what_they_are(engines):
    assert engines.info.name == "onnxruntime" and engines.info.version == onnxruntime.__version__
    assert engines.info.threads == module._process_threads >= 1


THREADS = """
import sys
from jetson import Runtime
from jetson.errors import BadInput
first = Runtime.load(sys.argv[1], threads=1)
print(first.engines.info.threads)
print(Runtime.load(sys.argv[1]).engines.info.threads)
try:
    Runtime.load(sys.argv[1], threads=2)
except BadInput as error:
    print(error)
"""


def test_a_process_keeps_to_its_first_number_of_threads(bundle):
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(bundle.path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1",
        "1",
        "this process already runs ONNX Runtime with 1 threads; 2 need a new process",
    ]


def test_an_onnxruntime_without_a_shared_pool_still_answers(bundle):
    """Older versions cannot share a pool between sessions; the answers are the same."""
    script = (
        "import sys, numpy as np, onnxruntime\n"
        "del onnxruntime.set_global_thread_pool_sizes\n"
        "from jetson import Runtime\n"
        "answer = Runtime.load(sys.argv[1]).infer(np.full((8, 8), 77, np.uint8))\n"
        "print(answer.output.tobytes().hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(bundle.path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    here = Runtime.load(bundle).infer(np.full((8, 8), 77, np.uint8))
    assert done.stdout.strip() == here.output.tobytes().hex()
