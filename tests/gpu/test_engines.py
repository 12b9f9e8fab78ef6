"""TensorRT engines on a GPU, built here from tiny bundles and from a small random ViT, held against ONNX Runtime."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest

from jetson import Budget, Runtime
from jetson.engines import load_engines
from jetson.engines.tensorrt.api import load_api
from jetson.engines.tensorrt.build import Options, build, plan
from jetson.engines.tensorrt.cache import Cache
from jetson.engines.tensorrt.engines import TensorRTEngines
from jetson.engines.tensorrt.layout import in_order
from jetson.engines.tensorrt.target import check_runs_here, this_target
from jetson.errors import BadInput, EngineError, MissingExtra, PathError
from jetson.scheduling.paths import Paths
from tests.bundles import replace_unit, tiny_bundle, with_half
from tests.gpu.conftest import open_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PRECISIONS = ("fp32", "fp16")
TOLERANCES = {"fp32": 5e-3, "fp16": 2e-2}
"""Largest difference from ONNX Runtime in float32, as a share of the unit's largest output.

TensorRT may multiply float32 in TF32, which keeps 10 bits of each factor, as float16 does: one rounding is 5e-4. In
fp16 the weights and every intermediate are rounded too. What goes wrong when memory is shared wrongly is of the size of
the output itself.
"""
FRAMES = 3


class Silent:
    """Watches a build and says nothing."""

    def started(self, task): ...
    def progress(self, task, share, phase): ...
    def waiting(self, task): ...
    def finished(self, outcome): ...


@pytest.fixture(scope="module")
def here():
    """The GPU and a TensorRT that builds for it; skips where either is missing."""
    cuda = open_gpu()
    try:
        api = load_api()
        target = this_target(cuda)
        check_runs_here(target, api)
    except (MissingExtra, BadInput) as error:
        cuda.close()
        pytest.skip(f"no TensorRT for this GPU here: {error}")
    yield SimpleNamespace(cuda=cuda, api=api, target=target)
    cuda.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def tiny(here, folder):
    """A bundle of seven small units in both precisions, its engines built."""
    bundle = with_half(tiny_bundle(folder / "tiny"))
    return bundle, build_engines(bundle, here, folder / "tiny-cache")


@pytest.fixture(scope="module")
def vit(here, folder):
    """A random ViT with early exits of several kinds, any batch, in both precisions, its engines built."""
    pytest.importorskip("torch")
    from benchmarks.models import cut_bundle, random_model
    from toolkit.models.config import ARCHITECTURES, ExitConfig

    exits = tuple(ExitConfig(layer=i, architecture=a) for i, a in enumerate(ARCHITECTURES, start=1))
    bundle = cut_bundle(random_model("tiny", 32, 8, exits), folder / "vit", ("fp16",))
    return bundle, build_engines(bundle, here, folder / "vit-cache")


@pytest.fixture(params=["tiny", "vit"])
def built(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def load(here):
    """A function that loads a bundle's engines from a cache; they are closed at the end."""
    loaded = []

    def make(built, precision="fp32", graphs=True):
        bundle, cache = built
        precisions = (precision,) * len(bundle.manifest.units)
        loaded.append(TensorRTEngines(bundle, precisions, here.cuda, here.api, cache, graphs))
        return loaded[-1]

    yield make
    for engines in loaded:
        engines.close()


def build_engines(bundle, here, folder, precisions=PRECISIONS, options=None):
    """A cache that holds an engine of every unit, built on this device."""
    cache = Cache(folder)
    wanted = [precisions] * len(bundle.manifest.units)
    outcomes = build(plan(bundle, wanted, here.target, options or Options(), here.api), cache, Silent())
    assert [o.error for o in outcomes if o.error] == []
    return cache


def frames(bundle):
    shape = bundle.manifest.segments[0].input.shape
    return [np.random.default_rng(seed).normal(size=shape).astype(np.float32) for seed in range(FRAMES)]


def names(bundle):
    return [u.name for u in bundle.manifest.units]


def run_all(engines, bundle, pixels):
    """Every unit's output on one frame, by name."""
    engines.input[...] = pixels
    found = {}
    for unit in in_order(bundle.manifest.units):
        engines.run(unit)
        found[names(bundle)[unit]] = np.array(engines.output(unit))
    return found


def close_to(found, expected, precision):
    """How far two outputs are apart, as a share of what is allowed."""
    assert np.isfinite(found).all()
    return np.abs(found - expected).max() / (TOLERANCES[precision] * np.abs(expected).max())


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_unit_gives_what_onnx_runtime_gives(built, load, precision, graphs):
    bundle, _ = built
    engines, reference = load(built, precision, graphs), load_engines(bundle)
    seen = []
    for pixels in frames(bundle):
        found, expected = run_all(engines, bundle, pixels), run_all(reference, bundle, pixels)
        apart = {name: close_to(found[name], expected[name], precision) for name in expected}
        assert max(apart.values()) < 1, apart
        seen.append(found)
    for name in seen[0]:  # and it looks at its input
        assert not np.array_equal(seen[0][name], seen[1][name]), name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_path_gives_what_its_units_give(built, load, precision):
    bundle, _ = built
    engines, paths = load(built, precision), Paths.of(bundle.manifest)
    for pixels in frames(bundle):
        expected = run_all(engines, bundle, pixels)
        for exit_, branch in enumerate(paths.branches):
            engines.output(branch)[...] = np.nan
            engines.run_path([*paths.segments[: paths.stages[exit_]], branch])
            assert close_to(engines.output(branch), expected[names(bundle)[branch]], precision) < 0.01


def test_graphs_and_the_plain_path_give_the_same(built, load, here):
    bundle, _ = built
    with_graphs, without = load(built), load(built, graphs=False)
    if not here.cuda.has_graphs:
        pytest.skip(f"{here.cuda.name} has no graphs")
    assert with_graphs.remarks == [] and len(with_graphs._graphs) == len(bundle.manifest.units)
    assert without._graphs == {}
    for pixels in frames(bundle):
        found, expected = run_all(with_graphs, bundle, pixels), run_all(without, bundle, pixels)
        for name in expected:
            assert close_to(found[name], expected[name], "fp32") < 0.01, name


def test_branches_run_in_between_change_nothing_behind_them(built, load):
    """All engines write into one scratch block, and segments into two buffers."""
    bundle, _ = built
    engines, paths = load(built, graphs=False), Paths.of(bundle.manifest)
    for pixels in frames(bundle):
        engines.input[...] = pixels
        engines.run_path([*paths.segments, paths.branches[-1]])
        straight = np.array(engines.output(paths.branches[-1]))
        winding = run_all(engines, bundle, pixels)
        assert close_to(winding[names(bundle)[paths.branches[-1]]], straight, "fp32") < 0.01


def test_memory_is_shared(built, load):
    use = load(built).memory
    assert use.scratch >= max(u.scratch for u in use.units)
    assert all(u.engine > 0 for u in use.units)
    assert use.total <= use.unshared + 256


def test_gpu_times_are_positive(built, load):
    bundle, _ = built
    for graphs in (True, False):
        engines, paths = load(built, graphs=graphs), Paths.of(bundle.manifest)
        assert engines.gpu_ms(paths.segments[0]) is None
        run_all(engines, bundle, frames(bundle)[0])
        assert all(0 < engines.gpu_ms(unit) < 1e4 for unit in range(len(bundle.manifest.units)))
        engines.run_path([*paths.segments, paths.branches[-1]])
        assert all(0 < engines.gpu_ms(unit) < 1e4 for unit in paths.segments)


def test_an_engine_for_batches_runs_one_frame(vit, here, load, folder):
    bundle, _ = vit
    assert all(u.dynamic_batch for u in bundle.manifest.units)
    cache = build_engines(bundle, here, folder / "batches", ("fp32",), Options(max_batch=4))
    engines, reference = load((bundle, cache)), load_engines(bundle)
    pixels = frames(bundle)[0]
    found, expected = run_all(engines, bundle, pixels), run_all(reference, bundle, pixels)
    assert max(close_to(found[n], expected[n], "fp32") for n in expected) < 1


def test_a_runtime_answers_with_them(tiny, monkeypatch):
    bundle, cache = tiny
    monkeypatch.setenv("OFFRAMP_CACHE", str(cache.folder))
    runtime, reference = Runtime.load(bundle, engine="tensorrt"), Runtime.load(bundle)
    assert runtime.engines.precisions == ("fp16",) * len(bundle.manifest.units)
    for seed in range(FRAMES):
        frame = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        for budget in (None, Budget.unknown()):
            found, expected = runtime.infer(frame, budget), reference.infer(frame, budget)
            assert found.exit == expected.exit and found.error is None
            assert close_to(found.output, expected.output, "fp16") < 1
    runtime.close()


# Faults


def copy_of(cache, folder):
    copy = Cache(folder)
    copy.make_folder()
    for file in cache.folder.iterdir():
        (copy.folder / file.name).write_bytes(file.read_bytes())
    return copy


def test_a_truncated_engine_is_refused(tiny, load, tmp_path):
    bundle, cache = tiny
    copy = copy_of(cache, tmp_path / "cache")
    for file in copy.folder.glob("*.engine"):
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(EngineError, match=r"segment-1 .*offramp engines"):
        load((bundle, copy))


def test_bytes_that_are_no_engine_are_refused_by_tensorrt_and_the_reason_is_told(tiny, here, load, tmp_path):
    """Their hash is right, as if the builder had written them."""
    bundle, cache = tiny
    copy = copy_of(cache, tmp_path / "cache")
    unit = bundle.manifest.unit("head")
    entry = copy.engine_for("head", unit.sha256, "fp32", here.api.package, here.api.version, here.target)
    content = entry.path.read_bytes()[: entry.fingerprint.size_bytes // 2]
    fingerprint = msgspec.structs.replace(
        entry.fingerprint, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
    )
    with copy.locked(fingerprint.key):
        file = copy.new_file(fingerprint.key)
        file.write_bytes(content)
        copy.put(file, fingerprint)
    with pytest.raises(EngineError, match="unit head: TensorRT cannot load its engine: ") as caught:
        load((bundle, copy))
    assert "gave no reason" not in str(caught.value) and str(caught.value).endswith("--force")


def test_an_engine_of_another_tensorrt_is_refused(tiny, here):
    bundle, cache = tiny
    other = here.api._replace(version="9.9.9")
    with pytest.raises(EngineError, match=rf"built by .*{here.api.version}, here is .*9\.9\.9; .*offramp engines"):
        TensorRTEngines(bundle, ("fp32",) * len(bundle.manifest.units), here.cuda, other, cache)


def test_a_unit_that_gives_nan_is_named(here, tmp_path, monkeypatch):
    bundle = tiny_bundle(tmp_path / "bundle")
    model = onnx.load(bundle.file(bundle.manifest.unit("head")))
    (bias,) = [t for t in model.graph.initializer if t.name == "bias"]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(3, np.nan, np.float32), "bias"))
    bundle = replace_unit(bundle, "head", model.SerializeToString())
    cache = build_engines(bundle, here, tmp_path / "cache", ("fp32",))
    monkeypatch.setenv("OFFRAMP_CACHE", str(cache.folder))
    runtime = Runtime.load(bundle, engine="tensorrt")
    with pytest.raises(EngineError, match="unit head gave NaN"):
        runtime.infer(np.zeros((8, 8), np.uint8))
    answer = runtime.infer(np.zeros((8, 8), np.uint8), Budget.unknown())
    assert answer.exit == 3 and "unit head gave NaN" in answer.error
    runtime.close()


def test_a_path_with_a_unit_that_tensorrt_refuses_ends_there(tiny, here, load):
    """A context that was told no address is refused before anything reaches the GPU."""
    bundle, _ = tiny
    engines, paths = load(tiny, graphs=False), Paths.of(bundle.manifest)
    first, second = paths.segments[:2]
    engines.input[...] = frames(bundle)[0]
    engines.run(first)
    before = np.array(engines.output(first))
    managed = here.api.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    bound = engines._contexts[second]
    engines._contexts[second] = engines._engines[second].create_execution_context(managed)
    with pytest.raises(PathError, match="unit segment-2 failed in TensorRT: ") as caught:
        engines.run_path([first, second])
    assert caught.value.finished == 1
    assert np.array_equal(engines.output(first), before)
    engines._contexts[second] = bound
    engines.run_path([first, second])


LOST = """
import sys
from jetson.bundle import Bundle
from jetson.engines.tensorrt.engines import TensorRTEngines
from jetson.errors import EngineError
bundle = Bundle.open(sys.argv[1])
engines = TensorRTEngines(bundle, ("fp32",) * len(bundle.manifest.units), graphs=False)
engines._contexts[0].set_tensor_address("tokens_out", 1 << 40)
for _ in range(2):
    try:
        engines.run(0)
    except EngineError as error:
        print(error)
engines.close()
print("closed")
"""


def test_a_lost_gpu_is_told_and_the_process_ends_in_order(tiny, monkeypatch):
    """In a process of its own: after a write to no memory, a CUDA context is of no use any more."""
    bundle, cache = tiny
    monkeypatch.setenv("OFFRAMP_CACHE", str(cache.folder))
    command = [sys.executable, "-c", LOST, str(bundle.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("unit segment-1 failed on the GPU: ") and first.endswith("start it again")
    assert second == first and last == "closed"
