"""Branches in the graphs of their segments, on the fake device and with TensorRT's own builder."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.bundle import Bundle
from jetson.engines.tensorrt.api import load_api
from jetson.engines.tensorrt.build import Options, build, plan
from jetson.engines.tensorrt.cache import Cache
from jetson.engines.tensorrt.preflight import preflight
from jetson.errors import EngineError, PathError
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import Untimed
from tests.bundles import edit_manifest, tiny_bundle
from tests.fusing import fuse
from tests.jetson.engines.tensorrt import loaded
from tests.jetson.engines.tensorrt.building import SM86, Witness
from tests.jetson.engines.tensorrt.loaded import PIXELS, compare, index

FUSED = ("2:mlp", "2:cnn-add", "6:head")


@pytest.fixture
def bundle(tmp_path):
    return fuse(tiny_bundle(tmp_path / "fused"), *FUSED)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("integrated", [True, False])
def test_every_unit_gives_what_onnx_runtime_gives(bundle, make, integrated, graphs):
    place = make(bundle, integrated, graphs)
    assert len(place.cuda.graphs) == len(bundle.manifest.filed) * graphs and not place.engines.remarks
    compare(place)
    compare(place, -PIXELS)


@pytest.mark.parametrize("integrated", [True, False])
def test_a_fused_branch_adds_nothing_to_a_path(bundle, make, integrated):
    place = make(bundle, integrated, graphs=False)
    place.engines.input[...] = place.reference.input[...] = PIXELS
    path = [index(bundle, n) for n in ("segment-1", "branch-2-mlp")]
    place.trt.executed.clear()
    before = place.cuda.waits
    place.engines.run_path(path)
    assert place.trt.executed == ["segment-1"] and place.cuda.waits == before + 1
    place.reference.run_path(path)
    assert place.engines.output(path[1]).tobytes() == place.reference.output(path[1]).tobytes()
    assert place.engines.gpu_ms(path[1]) == 0.0 < place.engines.gpu_ms(path[0])
    place.engines.run(path[1])
    assert place.trt.executed == ["segment-1"] and place.cuda.waits == before + 1


def test_a_replay_that_forgets_the_last_answer_is_noticed(bundle, make):
    """The first graph is that of a segment with two branches; its last piece of work copies the second answer."""

    def prepare(place):
        place.cuda.damages = lambda work: work if place.cuda.graphs else work[:-1]

    place = make(bundle, integrated=False, prepare=prepare)
    (remark,) = place.engines.remarks
    assert remark.startswith("unit segment-1 runs without a CUDA graph: its replay differs")
    compare(place)


def test_a_failure_names_the_unit_and_how_many_before_it_have_run(bundle, make):
    place = make(bundle, False, False)
    place.trt.refuses.add("segment-2")
    path = [index(bundle, n) for n in ("segment-1", "branch-2-mlp", "segment-2", "branch-4-vit")]
    with pytest.raises(PathError, match="unit segment-2 failed in TensorRT") as caught:
        place.engines.run_path(path)
    assert caught.value.finished == 2
    with pytest.raises(EngineError, match="segment-2"):
        place.engines.run(path[2])


def test_memory_counts_the_engine_once_and_the_answer_each(bundle, make):
    place = make(bundle, False, True)
    use = {u.unit: u for u in place.engines.memory.units}
    assert use["head"].engine == use["head"].scratch == 0 < use["segment-3"].engine
    assert place.engines.memory.outputs == 4 * 3 * 4  # four answers of three float32


def test_frames_are_answered_on_it(bundle, make):
    place = make(bundle, False, True)
    paths = Paths.of(bundle.manifest)
    ours, theirs = (Runtime(bundle, e, Untimed(paths)) for e in (place.engines, place.reference))
    frame = np.random.default_rng(3).integers(0, 256, (8, 8), dtype=np.uint8)
    answer = ours.infer(frame, Budget.unbounded())
    assert answer.output.tobytes() == theirs.infer(frame, Budget.unbounded()).output.tobytes()


def test_an_engine_without_the_answer_is_refused(bundle, make, monkeypatch):
    monkeypatch.setattr(loaded, "load_engines", lambda _bundle: SimpleNamespace(close=list))  # it would refuse first
    edit_manifest(bundle.path, lambda data: data["units"][-1]["output"].update(name="answer"))
    with pytest.raises(EngineError, match=r"engine's output is .*head-output .*answer \(1, 3\) float32; build"):
        make(Bundle.open(bundle.path))


def test_only_units_with_files_are_built(bundle):
    api = type("Api", (), {"package": "tensorrt", "version": "10.3.0", "rtx": False})()
    tasks = plan(bundle, [("fp32",)] * len(bundle.manifest.units), SM86, Options(), api)
    assert [t.source.unit for t in tasks] == [u.name for u in bundle.manifest.filed]
    assert tasks[0].source.further == ("branch-2-mlp-output", "branch-2-cnn-add-output")


def test_tensorrt_takes_and_builds_a_fused_unit(bundle, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'offramp[rtx]'")
    assert preflight(bundle, ("fp32",)) == []
    tasks = plan(bundle, [("fp32",)] * len(bundle.manifest.units), SM86, Options(), load_api("tensorrt_rtx"))
    (outcome,) = build(tasks[:1], Cache(tmp_path / "cache"), Witness())
    assert outcome.error == "" and outcome.entry is not None
    wrong = msgspec.structs.replace(tasks[0].source, further=("other",))
    refused = build([type(tasks[0])(wrong, tasks[0].file_bytes, tasks[0].key)], Cache(tmp_path / "again"), Witness())
    assert "not what the manifest says" in refused[0].error
