"""TensorRTEngines on a fake device and a fake TensorRT: real numbers through the shared memory, no GPU."""

from __future__ import annotations

import contextlib
import threading

import msgspec
import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.cuda import ALIGNMENT
from jetson.engines.tensorrt.layout import Layout, size_bytes
from jetson.profiling.memory import MemoryUse, UnitMemory
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import Untimed
from tests.bundles import tiny_bundle
from tests.jetson.engines.tensorrt.fake_cuda import COPY_MS, UNIT_MS, FakeCuda
from tests.jetson.engines.tensorrt.fake_tensorrt import plan
from tests.jetson.engines.tensorrt.loaded import PIXELS, compare, index

SHAPES = {
    "three segments": ((2, "mlp"), (2, "cnn-add"), (4, "vit"), (6, "head")),
    "one segment": ((3, "head"),),
    "four exits behind one layer": ((1, "mlp"), (1, "vit"), (1, "cnn-add"), (1, "resmlp"), (2, "head")),
    "twelve exits": (*((layer, "mlp") for layer in range(1, 12)), (12, "head")),
}


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_unit_gives_what_onnx_runtime_gives(tmp_path, make, shape, integrated, graphs):
    place = make(tiny_bundle(tmp_path / "bundle", exits=SHAPES[shape]), integrated, graphs)
    assert len(place.cuda.graphs) == len(place.bundle.manifest.units) * graphs and not place.engines.remarks
    compare(place)
    compare(place, -PIXELS)
    launches = [g.launches for g in place.cuda.graphs]
    assert launches == [3] * len(launches)  # once at load, and twice here


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_path_gives_what_its_units_give_and_waits_once(tmp_path, make, shape, integrated, graphs):
    place = make(tiny_bundle(tmp_path / "bundle", exits=SHAPES[shape]), integrated, graphs)
    paths = Paths.of(place.bundle.manifest)
    for exit_, branch in enumerate(paths.branches):
        units = [*paths.segments[: paths.stages[exit_]], branch]
        pixels = PIXELS * (exit_ + 1)
        place.engines.input[...] = place.reference.input[...] = pixels
        place.reference.run_path(units)
        before = place.cuda.waits
        place.engines.run_path(units)
        assert place.cuda.waits == before + 1
        answer = place.engines.output(branch)
        assert place.cuda.waits == before + 1  # the answer was there already
        assert answer.tobytes() == place.reference.output(branch).tobytes()
        place.engines.input[...] = np.nan  # nothing may still be reading it
        assert not place.cuda.pending
        assert answer.tobytes() == place.reference.output(branch).tobytes()


def test_a_unit_waits_once_and_an_empty_path_does_nothing(bundle, make):
    place = make(bundle)
    before = place.cuda.waits
    place.engines.run(0)
    assert place.cuda.waits == before + 1
    place.engines.run_path([])
    assert place.cuda.waits == before + 1


def test_a_jetson_copies_nothing_and_a_card_copies_input_and_answers(bundle, make):
    jetson, card = make(bundle, True, False), make(bundle, False, False)
    for place in (jetson, card):
        for unit in range(len(bundle.manifest.units)):
            place.engines.run(unit)
    assert jetson.cuda.copies == [] and card.cuda.copies == ["in", "out", "out", "out", "out"]
    kinds = [b.kind for b in jetson.cuda.blocks]
    assert kinds.count("host") == 1 and kinds.count("device") == 3  # scratch and two token buffers
    kinds = [b.kind for b in card.cuda.blocks]
    assert kinds.count("host") == 1 and kinds.count("device") == 4


def test_an_integrated_device_that_cannot_map_memory_copies(bundle, make):
    place = make(bundle, True, maps=False)
    compare(place)
    assert place.cuda.copies


def test_segments_take_turns_in_two_buffers_and_a_branch_reads_its_segments(bundle, make):
    place = make(bundle)
    layout, units = place.engines._layout, bundle.manifest.units
    at = {u.name: (s, t) for u, s, t in zip(units, layout.sources, layout.targets, strict=True)}
    one, two, three = (at[f"segment-{i}"] for i in (1, 2, 3))
    assert one[1] == two[0] == three[1] and two[1] == three[0] and one[1] != two[1]
    assert at["branch-2-mlp"][0] == at["branch-2-cnn-add"][0] == one[1] and at["head"][0] == three[1]
    answers = [t for u, t in zip(units, layout.targets, strict=True) if u.kind == "branch"]
    assert len(set(answers)) == 4 and all(a % ALIGNMENT == 0 for a in layout.targets + layout.sources)


def test_scratch_is_one_block_of_the_hungriest_unit(bundle, make):
    place = make(bundle)
    scratch = {c.scratch for c in place.engines._contexts}
    assert scratch == {(place.engines._layout.scratch, 7000)}


def test_engines_that_want_no_scratch_run(bundle, make):
    place = make(bundle, changes={u.name: {"scratch": 0} for u in bundle.manifest.units})
    assert place.engines.memory.scratch == ALIGNMENT  # an address to give all the same
    compare(place)


def test_memory_is_reported_and_what_it_would_be_unshared(bundle, make):
    units = bundle.manifest.units
    for integrated in (True, False):
        place = make(bundle, integrated)
        use = place.engines.memory
        assert [u.unit for u in use.units] == [u.name for u in units]
        assert [u.scratch for u in use.units] == [1000 * (i + 1) for i in range(7)] and use.scratch == 7000
        assert [u.output for u in use.units] == [size_bytes(u.output) for u in units]
        assert [u.engine for u in use.units] == [len(plan(bundle.file(u), 1000 * (i + 1))) for i, u in enumerate(units)]
        tokens = 8 * 16 * 4
        assert use.tokens == 2 * tokens and use.outputs == 4 * 3 * 4 and use.input == 8 * 8 * 4
        assert (use.staging == 0) == integrated
        allocated = sum(b.size_bytes for b in place.cuda.blocks)
        assert 0 <= allocated - (use.total - use.engines) < 16 * ALIGNMENT  # what alignment costs
        assert use.unshared - use.total == (28000 - 7000) + tokens


def test_memory_adds_up():
    units = (
        UnitMemory(unit="a", engine=100, scratch=50, output=8),
        UnitMemory(unit="b", engine=200, scratch=70, output=4),
    )
    use = MemoryUse(units=units, scratch=70, tokens=8, outputs=4, input=16, staging=20)
    assert (use.engines, use.total, use.unshared) == (300, 418, 468)


def test_gpu_time_runs_between_the_marks_around_a_unit(bundle, make):
    place = make(bundle, integrated=True)
    first, branch, second = (index(bundle, n) for n in ("segment-1", "branch-2-mlp", "segment-2"))
    assert [place.engines.gpu_ms(u) for u in range(7)] == [None] * 7
    place.engines.run(first)
    assert place.engines.gpu_ms(first) == UNIT_MS and place.engines.gpu_ms(second) is None
    place.engines.run_path([first, second, branch])
    assert [place.engines.gpu_ms(u) for u in (first, second, branch)] == [UNIT_MS] * 3
    card = make(bundle)
    card.engines.run_path([first, second, branch])
    found = [card.engines.gpu_ms(u) for u in (first, second, branch)]
    assert found == [UNIT_MS + COPY_MS, UNIT_MS, UNIT_MS + COPY_MS]
    card.engines.run(second)
    assert card.engines.gpu_ms(first) == UNIT_MS + COPY_MS  # of its own last run


def test_a_path_longer_than_there_are_units_is_timed(bundle, make):
    place = make(bundle, integrated=True)
    place.engines.run_path([0, 3] * 12)
    assert place.engines.gpu_ms(0) == place.engines.gpu_ms(3) == UNIT_MS


def test_the_engines_say_what_they_are(bundle, make):
    place = make(bundle)
    info = place.engines.info
    assert (info.name, info.version, info.threads) == ("tensorrt", "tensorrt 10.3.0", 1)
    assert place.engines.ahead is True and place.engines.precisions == ("fp32",) * 7


def test_a_runtime_answers_with_them(bundle, make):
    place = make(bundle)
    frame = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    paths = Paths.of(bundle.manifest)
    ours = Runtime(bundle, place.engines, Untimed(paths), timed=False)
    theirs = Runtime(bundle, place.reference, Untimed(paths), timed=False)
    for budget in (None, Budget.unknown()):
        assert ours.infer(frame, budget).output.tobytes() == theirs.infer(frame, budget).output.tobytes()


def test_token_buffers_hold_the_largest_of_their_turn(bundle):
    """Tokens may grow or shrink on their way, as where patches are merged."""
    manifest = bundle.manifest
    sizes = [(1, 8, 16), (1, 8, 64), (1, 4, 40)]
    outputs = dict(zip(("segment-1", "segment-2", "segment-3"), sizes, strict=True))
    change = msgspec.structs.replace
    units = tuple(
        change(u, output=change(u.output, shape=outputs[u.name])) if u.kind == "segment" else u for u in manifest.units
    )
    cuda = FakeCuda()
    cuda.enter()
    with contextlib.ExitStack() as stack:
        layout = Layout(cuda, change(manifest, units=units), 1000, stack)
        first, second = layout.targets[index(bundle, "segment-1")], layout.targets[index(bundle, "segment-2")]
        assert layout.targets[index(bundle, "segment-3")] == first
        found = {b.address: b.size_bytes for b in cuda.blocks}
        assert found[first] == 4 * 40 * 4 and found[second] == 8 * 64 * 4
        assert layout.tokens_bytes == found[first] + found[second]
    assert cuda.live == []


def test_another_thread_may_fetch_an_output(bundle, make):
    place = make(bundle)
    place.engines.run(0)
    expected, found = place.engines.output(0), []
    thread = threading.Thread(target=lambda: found.append(place.engines.output(0)))
    thread.start()
    thread.join()
    assert found[0].tobytes() == expected.tobytes()


def test_any_thread_may_run_them(bundle, make):
    place = make(bundle)
    failures = []

    def work():
        try:
            compare(place, PIXELS * 2)
        except BaseException as error:
            failures.append(error)

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not failures
    compare(place)
