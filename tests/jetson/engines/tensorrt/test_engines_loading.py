"""Engines that cannot be loaded, and what is left when they are closed."""

from __future__ import annotations

import gc

import msgspec
import numpy as np
import onnx
import pytest

from jetson import Runtime
from jetson.engines.tensorrt import engines as module
from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.engines import TensorRTEngines
from jetson.engines.tensorrt.load import load_engine, make_runtime
from jetson.engines.tensorrt.log import Log, make_logger
from jetson.engines.tensorrt.target import this_target
from jetson.errors import EngineError
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import Untimed
from tests.bundles import replace_unit, tiny_bundle
from tests.jetson.engines.tensorrt.fake_cuda import FakeCuda
from tests.jetson.engines.tensorrt.fake_tensorrt import FakeTensorRT, plan
from tests.jetson.engines.tensorrt.loaded import VERSION, compare, fill, put


def refuses(make, bundle, says, **options):
    """Loading ends in one clear line, and holds on to nothing."""
    places = []

    def prepare(place):
        places.append(place)
        options.get("prepare", lambda place: None)(place)

    with pytest.raises(EngineError, match=says) as caught:
        make(bundle, **{**options, "prepare": prepare})
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1
    (place,) = places
    gc.collect()
    assert place.trt.alive == [] and place.cuda.live == []
    assert not place.cuda.closed  # it is not ours
    return str(caught.value)


def damage(place, name, content):
    unit = place.bundle.manifest.unit(name)
    put(place.cache, unit, content, this_target(place.cuda))


def test_an_engine_that_tensorrt_cannot_read_is_named_with_the_command_that_mends_it(bundle, make):
    message = refuses(make, bundle, "unit head: ", prepare=lambda place: damage(place, "head", b"plan:{"))
    assert "deserializeCudaEngine: Error Code 1: Serialization assertion failed" in message
    assert message.endswith(f"build it again: offramp engines {bundle.path} --precision fp32 --force")


def test_a_truncated_cache_file_is_refused_before_tensorrt_sees_it(bundle, make):
    def prepare(place):
        (file,) = [f for f in place.cache.folder.glob("*.engine") if b"segment-2.onnx" in f.read_bytes()]
        file.write_bytes(file.read_bytes()[:-7])

    assert "deserialize" not in refuses(make, bundle, "segment-2", prepare=prepare)


def test_an_engine_of_another_tensorrt_is_refused(bundle, tmp_path, make):
    place = make(bundle)
    with pytest.raises(EngineError, match=r"10\.3\.0.*10\.16\.1"):
        TensorRTEngines(bundle, ("fp32",) * 7, place.cuda, Api(place.trt, "tensorrt", "10.16.1"), place.cache)


def test_a_unit_without_an_engine_is_named(bundle, make):
    def prepare(place):
        for file in place.cache.folder.iterdir():
            file.unlink()

    refuses(make, bundle, "unit segment-1 has no engine", prepare=prepare)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"width": 24},
            "its engine's input is tokens_in .1, 8, 24. .*, the manifest says tokens_in .1, 8, 16. float32",
        ),
        ({"outputs": 5}, "its engine's output is output .1, 5. .*, the manifest says output .1, 3. float32"),
    ],
)
def test_an_engine_of_other_shapes_is_refused_before_it_writes_anywhere(tmp_path, bundle, make, options, says):
    other = tiny_bundle(tmp_path / "other", **options)
    content = plan(other.file(other.manifest.unit("head")))
    message = refuses(make, bundle, f"unit head: {says}", prepare=lambda place: damage(place, "head", content))
    assert message.endswith("--precision fp32 --force")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dtype": "half"}, "HALF.*the manifest says tokens_in"),
        ({"format": "chw32"}, "unit segment-2: its engine's input"),
        ({"profile": (2, 8)}, r"\(-1, 8, 16\)"),
    ],
)
def test_an_engine_of_another_type_or_layout_or_batch_is_refused(bundle, make, change, says):
    refuses(make, bundle, says, changes={"segment-2": change})


def test_an_engine_for_batches_runs_one_frame(bundle, make):
    place = make(bundle, changes={u.name: {"profile": (1, 8)} for u in bundle.manifest.units})
    compare(place)


def test_a_tensor_of_another_name_is_refused(tmp_path, bundle, make):
    model = onnx.load(bundle.file(bundle.manifest.unit("head")))
    model.graph.output[0].name = model.graph.node[-1].output[0] = "logits"
    file = tmp_path / "renamed.onnx"
    onnx.save(model, file)
    refuses(make, bundle, "output is logits", prepare=lambda place: damage(place, "head", plan(file)))


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("no_context", "unit segment-2: TensorRT cannot prepare its engine to run: .*OutOfMemory"),
        ("refuses", "unit segment-2 failed in TensorRT: .*myelin graph failed"),
        ("crashes", "unit segment-2 failed on the GPU: CUDA_ERROR_ILLEGAL_ADDRESS"),
    ],
)
def test_a_unit_that_cannot_be_made_to_run_is_named(bundle, make, field, says):
    if field == "crashes":  # nothing can be freed on a lost device
        with pytest.raises(EngineError, match=says):
            make(bundle, prepare=lambda place: place.trt.crashes.add("segment-2"))
        return
    refuses(make, bundle, says, prepare=lambda place: getattr(place.trt, field).add("segment-2"))


@pytest.mark.parametrize("tensor", ["tokens_in", "tokens_out"])
def test_an_address_that_tensorrt_refuses_is_an_error(bundle, make, tensor):
    says = f"unit segment-2: TensorRT cannot prepare its engine to run: setTensorAddress: {tensor} cannot be bound"
    refuses(make, bundle, says, prepare=lambda place: place.trt.no_address.add(("segment-2", tensor)))


def test_an_engine_that_the_real_tensorrt_cannot_read_is_refused_with_its_reason(bundle):
    api = Api(pytest.importorskip("tensorrt_rtx"), "tensorrt_rtx", "1")
    log = Log()
    logger = make_logger(api.trt, log.add)
    runtime = make_runtime(api, logger, log)
    with pytest.raises(
        EngineError, match=r"unit head: TensorRT cannot load its engine: .*; build it again: X$"
    ) as said:
        load_engine(api, runtime, log, b"nothing" * 100, bundle.manifest.unit("head"), "X")
    assert "no reason" not in str(said.value) and "\n" not in str(said.value)


def test_tensorrt_for_rtx_compiles_for_the_shape_before_the_first_frame(bundle, make):
    """Else a graph would hold the kernels that stand in while those for the shape are compiled."""
    place = make(bundle, rtx=True, changes={"segment-2": {"profile": (1, 8)}})
    (settings,) = place.trt.settings.values()
    assert list(place.trt.settings) == ["segment-2"]
    assert settings["dynamic_shapes_kernel_specialization_strategy"].name == "EAGER"
    assert place.engines.info.version == f"tensorrt_rtx {VERSION}"
    compare(place)


def test_an_interrupt_while_they_load_frees_everything(bundle, make):
    """Once what is in the stream has ended."""
    places = []

    def prepare(place):
        def interrupted(enqueue):
            place.cuda.put(lambda: None)
            raise KeyboardInterrupt

        place.cuda.capture = interrupted
        places.append(place)

    with pytest.raises(KeyboardInterrupt):
        make(bundle, prepare=prepare)
    gc.collect()
    assert places[0].cuda.live == [] and places[0].trt.alive == []


def test_a_tensorrt_that_cannot_start_says_why(bundle, make):
    def prepare(place):
        place.trt.no_start = True

    message = refuses(make, bundle, "TensorRT cannot start: CUDA initialization failure", prepare=prepare)
    assert message.endswith("see: offramp doctor")


@pytest.mark.parametrize("room", [100, 600, 5000])
def test_a_gpu_without_room_says_how_much_was_wanted(bundle, make, room):
    def prepare(place):
        place.cuda.room = room

    refuses(make, bundle, "the GPU has no room for 0 MiB of scratch, .*CUDA_ERROR_OUT_OF_MEMORY", prepare=prepare)


def test_memory_that_is_not_aligned_is_refused(bundle, make):
    def prepare(place):
        place.cuda.misalign = 64

    refuses(make, bundle, "not aligned to 256 bytes", prepare=prepare)


def test_closing_frees_graphs_contexts_memory_engines_runtime_in_this_order(bundle, make):
    place = make(bundle)
    compare(place)
    place.cuda.journal.clear()
    place.engines.close()
    gc.collect()
    order = list(dict.fromkeys(place.cuda.journal))
    assert order == ["free graph", "free context", "free host", "free device", "free engine", "free runtime"] or (
        order == ["free graph", "free context", "free device", "free host", "free engine", "free runtime"]
    )
    assert place.cuda.journal.index("free engine") > max(i for i, e in enumerate(place.cuda.journal) if "context" in e)
    assert place.cuda.live == [] and place.trt.alive == [] and not place.cuda.closed
    place.engines.close()
    for use in (lambda: place.engines.run(0), lambda: place.engines.output(0)):
        with pytest.raises(EngineError, match="the engines are closed"):
            use()


def test_a_runtime_that_was_closed_says_so_and_writes_to_no_memory_that_is_gone(bundle, make):
    place = make(bundle)
    runtime = Runtime(bundle, place.engines, Untimed(Paths.of(bundle.manifest)), timed=False)
    given = place.engines.input
    runtime.close()
    with pytest.raises(EngineError, match="the engines are closed"):
        runtime.infer(np.full((8, 8), 255, np.uint8))
    assert not np.shares_memory(given, place.engines.input) and (given == 0).all()


@pytest.mark.parametrize("fails", [False, True])
def test_a_device_we_made_is_closed_with_them_and_last(bundle, tmp_path, make, monkeypatch, fails):
    place = make(bundle)
    own = FakeCuda()
    trt = FakeTensorRT(own)
    monkeypatch.setattr(module, "load_cuda", lambda: own)
    if fails:
        trt.no_context.add("head")
        with pytest.raises(EngineError, match="unit head"):
            TensorRTEngines(bundle, ("fp32",) * 7, None, Api(trt, "tensorrt", VERSION), place.cache)
    else:
        engines = TensorRTEngines(bundle, ("fp32",) * 7, None, Api(trt, "tensorrt", VERSION), place.cache)
        engines.close()
        engines.close()
    gc.collect()
    assert own.closed and own.live == [] and trt.alive == []
    assert own.journal[-1] == "close cuda" and own.journal.count("close cuda") == 1


def test_loading_by_name_takes_the_usual_cache_and_device(bundle, make, monkeypatch):
    place = make(bundle)
    own = FakeCuda(True)
    trt = FakeTensorRT(own)
    monkeypatch.setattr(module, "load_cuda", lambda: own)
    monkeypatch.setattr(module, "load_api", lambda: Api(trt, "tensorrt", VERSION))
    monkeypatch.setenv("OFFRAMP_CACHE", str(fill(place.cache.folder.parent / "usual", bundle, this_target(own)).folder))
    runtime = Runtime.load(bundle, engine="tensorrt")
    place.reference.input[...] = runtime.engines.input
    answer = runtime.infer(np.full((8, 8), 77, np.uint8))
    assert answer.output.tobytes() == Runtime.load(bundle).infer(np.full((8, 8), 77, np.uint8)).output.tobytes()
    runtime.close()
    assert own.closed


def test_graphs_are_checked_in_an_order_in_which_units_can_run(bundle, make):
    """On tokens that the segment before has just written, wherever the manifest names the branches."""
    manifest = bundle.manifest
    branches = [u for u in manifest.units if u.kind == "branch"]
    turned = msgspec.structs.replace(manifest, units=(*manifest.segments, *reversed(branches)))
    place = make(type(bundle)(bundle.path, turned))
    assert not place.engines.remarks
    assert place.trt.executed[:7] == [
        *("segment-1", "branch-2-cnn-add", "branch-2-mlp"),
        *("segment-2", "branch-4-vit"),
        *("segment-3", "head"),
    ]
    compare(place)


def test_a_replaced_unit_has_no_engine_yet(tmp_path, bundle, make):
    place = make(bundle)
    other = tiny_bundle(tmp_path / "other", seed=1)
    other = replace_unit(bundle, "head", other.file(other.manifest.unit("head")).read_bytes())
    with pytest.raises(EngineError, match="unit head has no engine"):
        TensorRTEngines(other, ("fp32",) * 7, place.cuda, Api(place.trt, "tensorrt", VERSION), place.cache)
