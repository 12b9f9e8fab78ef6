"""What passes through a unit, counted in ONNX Runtime whatever else the process runs there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calibration.int8.graph import weighted_inputs
from calibration.int8.histogram import Histogram
from calibration.int8.session import Session
from calibration.int8.statistics import collect, run
from jetson.errors import DataError, EngineError
from tests.bundles import tiny_bundle
from tests.calibration.int8.graphs import NODE, RNG, W, graph

NODES = [
    NODE("MatMul", ["x", "w"], ["m"], name="first"),
    NODE("Tanh", ["m"], ["t"]),
    NODE("MatMul", ["t", "v"], ["y"], name="second"),
]
WEIGHTS = {"w": W, "v": W + 1}
FRAMES = RNG.normal(size=(7, 3, 4)).astype(np.float32)
BATCHES = [FRAMES[:3], FRAMES[3:6], FRAMES[6:]]


@pytest.mark.parametrize("first", ["batch", 1], ids=["any batch", "one frame"])
def test_histograms_are_those_of_the_tensors(first):
    content = graph(NODES, WEIGHTS, (first, 3, 4))
    found = collect(content, "unit", BATCHES)
    assert tuple(found) == weighted_inputs(content) == ("x", "t")
    tanh = np.tanh(FRAMES @ W)
    for tensor, values in (("x", FRAMES), ("t", tanh)):
        expected = Histogram.of(values)
        assert found[tensor].maximum == pytest.approx(expected.maximum, rel=1e-6)
        assert found[tensor].total == values.size
        assert np.abs(found[tensor].counts - expected.counts).sum() <= 4  # values on an edge


@pytest.mark.parametrize("first", ["batch", 1], ids=["any batch", "one frame"])
def test_run_gives_the_outputs_batch_by_batch(first):
    found = run(graph(NODES, WEIGHTS, (first, 3, 4)), BATCHES)
    assert [f.shape for f in found] == [(3, 3, 4), (3, 3, 4), (1, 3, 4)]
    assert np.concatenate(found) == pytest.approx(np.tanh(FRAMES @ W) @ (W + 1), abs=1e-5)


def test_a_tensor_that_is_an_output_already():
    content = graph(NODES, WEIGHTS, outputs={"y": None, "t": None})
    assert set(collect(content, "unit", BATCHES)) == {"x", "t"}


def test_only_the_input_is_needed():
    content = graph([*NODES[:1], NODE("Tanh", ["m"], ["y"])], {"w": W})
    assert collect(content, "unit", BATCHES)["x"].total == FRAMES.size


def test_a_unit_without_weights_has_nothing_to_count():
    assert collect(graph([NODE("Tanh", ["x"], ["y"])], {}), "unit", []) == {}


def test_progress_is_told_twice_a_batch():
    told = []
    collect(graph(NODES, WEIGHTS), "unit", BATCHES, lambda: told.append(1))
    assert len(told) == 2 * len(BATCHES)


def test_a_tensor_that_is_zero_throughout():
    found = collect(graph(NODES, {**WEIGHTS, "w": W * 0}), "unit", BATCHES)["t"]
    assert found.maximum == 0 and found.counts[0] == found.total == FRAMES.size


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_name_unit_tensor_and_node(value):
    nodes = [NODE("Div", ["x", "d"], ["q"]), NODE("MatMul", ["q", "w"], ["y"], name="fc1")]
    content = graph(nodes, {"w": W, "d": np.where(np.isnan(value), np.nan, 0.0) * np.ones(1)})
    with pytest.raises(DataError, match=r"^unit segment-2: q, the input of fc1, holds NaN .* train .* without int8$"):
        collect(content, "segment-2", BATCHES)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_frames_that_are_no_numbers(value):
    spoilt = FRAMES.copy()
    spoilt[5, 1, 2] = value
    with pytest.raises(DataError, match=r"^unit segment-2: what goes into it holds NaN or infinite values"):
        collect(graph(NODES, WEIGHTS), "segment-2", [FRAMES, spoilt])


@pytest.mark.parametrize("batches", [[], [FRAMES[:0]]], ids=["no batch", "an empty batch"])
def test_no_frames(batches):
    with pytest.raises(DataError, match=r"^unit segment-2: there are no frames"):
        collect(graph(NODES, WEIGHTS), "segment-2", batches)


def test_batches_that_can_be_had_once_only():
    with pytest.raises(TypeError, match="twice"):
        collect(graph(NODES, WEIGHTS), "unit", iter(BATCHES))


def test_what_onnx_runtime_does_not_take_is_one_line_naming_the_unit(capfd):
    with pytest.raises(EngineError, match=r"^unit segment-2: ONNX Runtime cannot load it: .+$"):
        Session(b"no model", "segment-2")
    with pytest.raises(EngineError, match=r"^unit segment-2 failed in ONNX Runtime: .+$"):
        Session(graph(NODES, WEIGHTS), "segment-2").run(np.zeros((1, 9), np.float32))
    with pytest.raises(EngineError, match=r"^unit unit failed in ONNX Runtime: .+$"):
        run(graph(NODES, WEIGHTS), [np.zeros((1, 9), np.float32)])
    assert "EP Error" not in capfd.readouterr().out


ENGINES = """
import sys
from pathlib import Path
import numpy as np
from calibration.int8.statistics import collect, run
from jetson.bundle import Bundle
from jetson.engines import load_engines
bundle = Bundle.open(Path(sys.argv[1]))
content = bundle.file(bundle.manifest.units[0]).read_bytes()
batch = np.ones((2, *bundle.manifest.units[0].input.shape[1:]), np.float32)
def mine():
    assert len(collect(content, "unit", [batch])) and run(content, [batch])[0].shape[0] == 2
def engines():
    made = load_engines(bundle, threads=1)
    made.run(0)
for step in sys.argv[2].split():
    {"mine": mine, "engines": engines}[step]()
"""


@pytest.mark.parametrize("order", ["mine", "engines mine", "mine engines mine"])
def test_beside_engines_that_share_a_pool_before_and_after_they_are_loaded(tmp_path, order):
    tiny_bundle(tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-c", ENGINES, str(tmp_path / "bundle"), order],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
