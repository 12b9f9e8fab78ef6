"""ONNX Runtime with branches in the graphs of their segments."""

import numpy as np
import pytest

from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.errors import EngineError
from tests.bundles import edit_manifest, tiny_bundle
from tests.fusing import fuse

PIXELS = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)


@pytest.fixture
def bundle(tmp_path):
    return fuse(tiny_bundle(tmp_path / "fused"), "2:mlp", "2:cnn-add", "4:vit")


def test_the_segment_writes_what_the_branch_would(bundle, tmp_path):
    ours, apart = load_engines(bundle), load_engines(tiny_bundle(tmp_path / "apart"))
    ours.input[...] = apart.input[...] = PIXELS
    for index, unit in enumerate(bundle.manifest.units):
        apart.run(index)
        if unit.fused is None:
            ours.run(index)
        assert ours.output(index).tobytes() == apart.output(index).tobytes(), unit.name
    ours.close()


def test_running_a_fused_branch_leaves_its_answer(bundle):
    engines = load_engines(bundle)
    engines.input[...] = PIXELS
    engines.run_path((0, 1))
    before = engines.output(1).copy()
    engines.run(1)
    assert engines.output(1).tobytes() == before.tobytes() and np.abs(before).max() > 0.01
    engines.input[...] = -PIXELS
    engines.run(0)
    assert engines.output(1).tobytes() != before.tobytes()


def test_a_graph_that_lacks_the_answer_is_refused(bundle):
    def change(data):
        data["units"][1]["output"]["name"] = "answer"

    edit_manifest(bundle.path, change)
    with pytest.raises(EngineError, match=r"unit segment-1: its output is .*branch-2-mlp-output.*answer.*build again"):
        load_engines(Bundle.open(bundle.path))
