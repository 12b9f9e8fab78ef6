"""Latency cold, after a pause, and beside another process; real engines, as little as there can be of each."""

import subprocess

import pytest

from jetson.engines import load_engines
from jetson.errors import BadInput, EngineError
from jetson.profiling import circumstances, keep_busy
from jetson.profiling.circumstances import LEAST_ROUNDS, cold, idle, loaded
from jetson.profiling.keep_busy import busy
from jetson.profiling.measure import measure
from jetson.profiling.profile import Sketch
from tests.bundles import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("c") / "bundle")


@pytest.fixture(scope="module")
def engines(bundle):
    return load_engines(bundle)


def complete(found, bundle):
    """Every unit and every exit was heard of, in as many rounds as there must be."""
    assert [e.name for e in found.exits] == [e.name for e in bundle.manifest.exits]
    assert all(e.end_to_end_ms.n == LEAST_ROUNDS for e in found.exits)
    assert set(found.units) == {u.name for u in bundle.manifest.units}
    assert all(sketch.n >= LEAST_ROUNDS and sketch.median > 0 for sketch in found.units.values())
    return found


def test_cold(bundle, engines, monkeypatch):
    loads = []
    load = circumstances.load_engines
    monkeypatch.setattr(circumstances, "load_engines", lambda *words: loads.append(words) or load(*words))
    found = complete(cold(bundle, engines, (8, 8), 0.0, lambda _share: None), bundle)
    # Each first inference has engines of its own: five paths, three rounds.
    assert len(loads) == found.load_ms.n == 15 and found.load_ms.median > 0
    assert {words[1:] for words in loads} == {("onnxruntime", engines.info.threads, engines.precisions)}


def test_idle(bundle, engines, monkeypatch):
    rests = []
    monkeypatch.setattr(circumstances.time, "sleep", rests.append)
    found = complete(idle(bundle, engines, (8, 8), 2.5, 0.0, lambda _share: None), bundle)
    assert rests == [2.5] * 15 and found.pause_s == 2.5


def test_loaded(bundle, engines, monkeypatch):
    monkeypatch.setattr(circumstances, "available_cores", lambda: engines.info.threads)
    found = complete(loaded(bundle, engines, (8, 8), 0.0, lambda _share: None), bundle)
    assert found.others == 1 and found.other_ms > 0


def test_as_many_others_as_fill_the_cores(bundle, engines, monkeypatch):
    import contextlib
    from types import SimpleNamespace

    begun = []
    monkeypatch.setattr(circumstances, "available_cores", lambda: 2 * engines.info.threads + 1)
    one = SimpleNamespace(frame_ms=4.0)
    monkeypatch.setattr(circumstances, "busy", lambda *_: begun.append(1) or contextlib.nullcontext(one))
    found = loaded(bundle, engines, (8, 8), 0.0, lambda _share: None)
    assert (len(begun), found.others, found.other_ms) == (3, 3, 4.0)


def test_the_other_process_ends_with_the_block_also_after_a_failure(bundle, engines, monkeypatch):
    begun = []
    start = subprocess.Popen
    monkeypatch.setattr(keep_busy.subprocess, "Popen", lambda *a, **k: begun.append(start(*a, **k)) or begun[-1])
    with pytest.raises(ZeroDivisionError), busy(bundle, engines):
        assert begun[0].poll() is None
        raise ZeroDivisionError
    assert begun[0].poll() is not None


def test_another_process_that_fails_says_why(bundle, engines, tmp_path):
    gone = tiny_bundle(tmp_path / "gone")
    (gone.path / "units" / "head.onnx").unlink()
    with pytest.raises(EngineError, match=r"keeps the device busy failed: .*head"), busy(gone, engines):
        pytest.fail("it cannot be busy")


def test_measure_adds_them_and_tells_how_far_it_is(bundle, monkeypatch):
    monkeypatch.setattr(circumstances.time, "sleep", lambda _s: None)
    shares = []
    profile = measure(bundle, rounds=1, warm_up=0, seconds=0, others=("idle",), idle_s=0.5, progress=shares.append)
    assert [c.name for c in profile.circumstances] == ["idle"] and profile.energy is None and profile.power_w is None
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert isinstance(profile.circumstances[0].units["head"], Sketch)


@pytest.mark.parametrize("wrong", [{"others": ("hot",)}, {"idle_s": -1.0}, {"burst_s": 0.0}])
def test_what_cannot_be_measured(bundle, wrong):
    with pytest.raises(BadInput):
        measure(bundle, **wrong)
