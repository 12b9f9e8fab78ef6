import onnx

from jetson.engines import load_engines
from jetson.profiling.call import NOTHING, call_ms
from tests.bundles import tiny_bundle


def test_the_model_that_computes_nothing_is_one():
    model = onnx.load_model_from_string(NOTHING)
    onnx.checker.check_model(model)
    assert [n.op_type for n in model.graph.node] == ["Identity"] and not model.graph.initializer


def test_a_call_is_timed_beside_loaded_engines(tmp_path):
    engines = load_engines(tiny_bundle(tmp_path / "bundle"))
    assert 0.0 < call_ms("onnxruntime", lambda: engines.run(0)) < 1e3
    engines.close()


def test_with_a_gpu_its_own_clock_tells():
    assert call_ms("tensorrt", list) is None
