"""`offramp engines`: what it prints, what it refuses, what it removes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from jetson.cuda import CudaDevice
from jetson.engines.tensorrt.api import Api, load_api
from jetson.engines.tensorrt.cache import Cache, Target
from jetson.errors import CudaError, EngineError, MissingExtra
from tests.bundles import replace_unit, tiny_bundle
from tests.jetson.engines.tensorrt.building import ORIN, SM86, make_key, names, put, write_onnx
from toolkit.cli import main

EXITS = ((2, "mlp"), (4, "head"))
UNITS = ["segment-1", "branch-2-mlp", "segment-2", "head"]
RTX = pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'offramp[rtx]'"
).__version__
BUILD = ["engines", "bün del", "--target", "sm86"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a bundle to work in, an empty cache, and no GPU."""
    tiny_bundle(tmp_path / "bün del", exits=EXITS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path / "cache"))
    no_gpu(monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A cache that holds the bundle's engines."""
    folder = tmp_path_factory.mktemp("engines")
    tiny_bundle(folder / "bundle", exits=EXITS)
    assert main(["engines", str(folder / "bundle"), "--target", "sm86", "--cache", str(folder / "cache")]) == 0
    return folder / "cache"


def no_gpu(monkeypatch):
    def load_cuda(*_args):
        raise CudaError("no CUDA-capable device is detected")

    monkeypatch.setattr("jetson.cuda.load_cuda", load_cuda)


def gpu(monkeypatch, capability=(8, 6), name="RTX 3080"):
    closed = []
    cuda = SimpleNamespace(
        device=CudaDevice(name, capability, 1 << 33, False, True, 12060), close=lambda: closed.append(1)
    )
    monkeypatch.setattr("jetson.cuda.load_cuda", lambda *_: cuda)
    return closed


def run(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def fails(capsys, *words):
    code, out, err = run(capsys, *words)
    assert out == "" and err.count("\n") == 1, err
    return code, err


def apis(monkeypatch, *packages):
    """Only these TensorRTs are installed; their modules are made up."""

    def load(package=None):
        for name in (package,) if package else ("tensorrt", "tensorrt_rtx"):
            if name in packages:
                members = {"CURRENT": 1, "SM86": 86}
                return Api(SimpleNamespace(ComputeCapability=SimpleNamespace(__members__=members)), name, "10.3.0")
        raise MissingExtra("TensorRT is not installed")

    monkeypatch.setattr("jetson.engines.tensorrt.api.load_api", load)


def test_all_units_are_built_and_then_found(here, capsys):
    code, out, err = run(capsys, *BUILD)
    assert code == 0 and all(u in out for u in UNITS) and "cached" not in out
    assert "these engines are for RTX GPUs of sm86, not for a Jetson: a Jetson's are built on that Jetson" in err
    assert [line for line in err.splitlines() if line.startswith("building")] == [
        f"building unit {u} in fp32 ..." for u in UNITS
    ]
    code, out, err = run(capsys, *BUILD)
    assert code == 0 and out.count("cached") == 4 and "building" not in err
    assert names(here / "cache") == [".engine"] * 4 + [".json"] * 4


def test_json_is_one_line_that_says_it_all(here, capsys):
    for cached in (False, True):
        code, out, _ = run(capsys, *BUILD, "--json", "--precision", "fp32, fp32")
        said = json.loads(out)
        assert code == 0 and out.count("\n") == 1 and said["tensorrt"] == {"package": "tensorrt_rtx", "version": RTX}
        assert said["target"]["kind"] == "rtx" and said["target"]["compute_capability"] == [8, 6]
        assert [e["unit"] for e in said["engines"]] == UNITS
        for engine in said["engines"]:
            assert engine["cached"] is cached and engine["error"] is None and engine["device_memory_bytes"] is None
            assert Path(engine["path"]).stat().st_size == engine["size_bytes"] and engine["digest"] in engine["path"]
            assert engine["seconds"] > 0 and engine["precision"] == "fp32"


def test_failures_are_told_unit_by_unit_and_the_rest_is_built(here, capsys):
    bad = write_onnx(here / "bad.onnx", [("Frobnicate", "one"), ("Wobble", "two")]).read_bytes()
    bundle = tiny_bundle(here / "bad bundle", exits=EXITS)
    replace_unit(bundle, "head", bad)
    words = ["engines", "bad bundle", "--target", "sm86"]
    code, out, err = run(capsys, *words)
    last = err.splitlines()[-1]
    assert code == 1 and last.startswith("offramp engines: unit head in fp32: TensorRT's parser cannot read it: ")
    assert "Frobnicate 'one'" in last and "Wobble 'two'" in last and out.count("failed") == 1
    replace_unit(bundle, "branch-2-mlp", bad)
    code, out, err = run(capsys, *words, "--json")
    *lines, last = err.splitlines()
    assert code == 1 and last == (
        "offramp engines: 2 of 4 engines could not be built: branch-2-mlp in fp32, head in fp32"
    )
    assert sum("Frobnicate 'one'" in line and "Wobble 'two'" in line for line in lines) == 2
    assert [bool(e["error"]) for e in json.loads(out)["engines"]] == [False, True, False, True]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("engines", "name the bundle whose engines are wanted: offramp engines BUNDLE (or --list, --prune)"),
        ("engines nothing --target sm86", "nothing: not a bundle"),
        ("engines --list --prune", "give either --list or --prune"),
        ("engines --list nothing", "nothing: not a bundle"),
        ("engines . --precision fp23", "'fp23' is not a list of precisions: give some of fp32, fp16, int8"),
        ("engines . --precision ,", "',' is not a list of precisions"),
        ("engines . --max-batch 0", "Invalid value for '--max-batch'"),
        ("engines . --optimization-level 6", "Invalid value for '--optimization-level'"),
        ("engines . --workspace-mb 0", "Invalid value for '--workspace-mb'"),
        ("engines . --jobs 0", "Invalid value for '--jobs'"),
    ],
)
def test_words_that_cannot_be_used(here, capsys, words, says):
    code, err = fails(capsys, *words.split())
    assert code == 2 and says in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--target", "sm87"],
            "does not build for sm87; it knows sm75, sm80, sm86, sm89, sm120, sm121, and the engines",
        ),
        (["--target", ""], "does not build for ; it knows"),
        (
            ["--target", "sm86", "--precision", "fp16"],
            "the bundle is in fp32 only; build it again with",
        ),
        (
            ["--target", "sm86", "--max-batch", "2"],
            "segment-1 takes one frame at a time, so --max-batch 2 cannot be had",
        ),
        ([], "no GPU can be used here (no CUDA-capable device is detected); to build for another machine name its GPU"),
    ],
)
def test_what_cannot_be_had_of_a_good_bundle(here, capsys, words, says):
    code, err = fails(capsys, "engines", "bün del", *words)
    assert code == 2 and says in err and not (here / "cache").exists()


def test_a_gpu_that_is_asked_for_and_not_there_is_failed_work(here, capsys):
    assert fails(capsys, "engines", "bün del", "--target", "this-device") == (
        1,
        "offramp engines: no CUDA-capable device is detected\n",
    )


def test_without_tensorrt_the_extra_is_named(here, capsys, monkeypatch):
    apis(monkeypatch)
    code, err = fails(capsys, *BUILD)
    assert code == 2 and err == "offramp engines: tensorrt_rtx is not installed: pip install 'offramp[rtx]'\n"
    assert fails(capsys, "engines", "bün del")[1] == "offramp engines: TensorRT is not installed\n"


def test_jetpacks_tensorrt_alone_builds_for_no_named_target(here, capsys, monkeypatch):
    apis(monkeypatch, "tensorrt")
    code, err = fails(capsys, *BUILD)
    assert (
        code == 2 and "TensorRT 10.3.0 builds only for the device it runs on; for sm86 it takes TensorRT for RTX" in err
    )


def test_rtx_does_not_build_for_a_gpu_it_does_not_know(here, capsys, monkeypatch):
    apis(monkeypatch, "tensorrt_rtx")
    closed = gpu(monkeypatch, (8, 7), "Orin")
    code, err = fails(capsys, "engines", "bün del")
    assert code == 2 and "does not know this GPU (" in err and "JetPack's own TensorRT is needed" in err
    assert closed == [1]


def test_this_device_is_the_default_where_there_is_a_gpu(here, monkeypatch):
    from toolkit.cli.engines import find_target

    apis(monkeypatch, "tensorrt")
    gpu(monkeypatch, (8, 7), "Orin")
    target, api = find_target(None)
    assert (target.kind, target.gpu, target.sm, api.package) == ("device", "Orin", "sm87", "tensorrt")
    assert find_target("this-device")[0] == target


def test_jobs_follow_the_target(here, capsys, monkeypatch):
    seen = []

    def build(tasks, cache, watcher, jobs, force):
        seen.append((tasks[0].key.target.kind, jobs, force))
        return []

    monkeypatch.setattr("jetson.engines.tensorrt.build.build", build)
    monkeypatch.setattr("toolkit.cli.engines.available_cores", lambda: 6)
    run(capsys, *BUILD)
    run(capsys, *BUILD, "--jobs", "3", "--force")
    apis(monkeypatch, "tensorrt")
    gpu(monkeypatch, (8, 7), "Orin")
    run(capsys, "engines", "bün del")
    assert seen == [("rtx", 6, False), ("rtx", 3, True), ("device", 1, False)]


def test_half_precision_is_the_default_where_all_units_have_it(here):
    from jetson.bundle import Bundle
    from toolkit.cli.engines import _per_unit

    bundle = Bundle.open("bün del")
    assert _per_unit(bundle, None) == [("fp32",)] * 4
    half = [
        msgspec.structs.replace(u, variants=(msgspec.structs.replace(u.files[0], precision="fp16"),))
        for u in bundle.manifest.units
    ]
    bundle.manifest = msgspec.structs.replace(bundle.manifest, units=tuple(half))
    assert _per_unit(bundle, None) == [("fp16",)] * 4
    assert _per_unit(bundle, ("fp32", "fp16")) == [("fp32", "fp16")] * 4


def test_a_folder_others_may_write_to_is_one_line(here, capsys):
    (here / "cache").mkdir(mode=0o700)
    (here / "cache").chmod(0o777)
    for words in (BUILD, ["engines", "--list"], ["engines", "--prune"]):
        code, _, err = run(capsys, *words)
        assert code == 2 and "engines are code, and the engine cache cannot be trusted: others may write to" in err


def test_a_folder_that_cannot_be_written_is_one_line(here, capsys):
    (here / "file").write_text("")
    code, _, err = run(capsys, *BUILD, "--cache", "file")
    assert code == 2 and err.splitlines()[-1].startswith("offramp engines: the engine cache ")


def test_an_interrupt_exits_as_ctrl_c_does(here, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("toolkit.cli.engines._Plain.started", stop)
    code, out, err = run(capsys, *BUILD)
    assert code == 130 and out == "" and err.splitlines()[-1] == "offramp engines: interrupted"
    assert names(here / "cache") == []


def fill(folder):
    """Engines of every sort."""
    cache, rtx = Cache(folder), {"package": "tensorrt_rtx", "version": RTX}
    put(cache, b"good" * 9, **rtx, target=SM86)
    put(cache, b"old", package="tensorrt_rtx", version="1.0", target=SM86)
    device = Target(kind="device", compute_capability=(8, 6), gpu="another", board=None, jetpack=None)
    put(cache, b"device", **rtx, target=device)
    put(cache, b"jetson", target=ORIN)
    os.truncate(put(cache, b"cut off", **rtx, target=SM86, max_batch=2).path, 3)
    cache.new_file(make_key(max_batch=7)).write_bytes(b"half")
    return cache


def test_the_list_shows_what_is_there_and_in_what_state(here, capsys):
    fill(here / "cache")
    code, out, _ = run(capsys, "engines", "--list")
    assert code == 0 and f"6 in {here / 'cache'}, 0.0 MiB" in out
    for word in (
        "segment-1",
        "TensorRT 10.3.0",
        "NVIDIA Jetson Orin Nano",
        "damaged",
        "unfinished",
        "other version",
        " d ",
    ):
        assert word in out, word
    said = json.loads(run(capsys, "engines", "--list", "--json")[1])
    assert sorted(e["state"] for e in said["entries"]) == ["damaged", "ok", "ok", "ok", "other version", "unfinished"]
    assert said["size_bytes"] == sum(f.stat().st_size for f in (here / "cache").iterdir())


def test_an_empty_cache_is_listed_and_pruned(here, capsys):
    assert run(capsys, "engines", "--list")[:2] == (0, f"0 in {here / 'cache'}, 0.0 MiB\n")
    assert run(capsys, "engines", "--prune")[:2] == (0, f"removed 0 from {here / 'cache'}, 0 bytes\n")
    assert not (here / "cache").exists()


def test_a_list_of_a_bundle_shows_its_engines_alone(here, capsys, engines):
    shutil.copytree(engines, here / "cache")
    fill(here / "cache")
    said = json.loads(run(capsys, "engines", "bün del", "--list", "--json")[1])
    assert sorted(e["fingerprint"]["unit"] for e in said["entries"]) == sorted(UNITS)


def test_prune_removes_what_is_of_no_use_and_says_what(here, capsys):
    fill(here / "cache")
    code, out, _ = run(capsys, "engines", "--prune")
    assert code == 0 and "removed 3 from " in out
    assert "built by TensorRT for RTX 1.0, here is " in out and "it has 3 bytes and should have 7" in out
    assert "it was never finished (4 bytes)" in out
    # Which device this is nobody can tell, nor does JetPack's TensorRT lie here: those engines are not judged.
    assert names(here / "cache") == [".engine"] * 3 + [".json"] * 3


def test_prune_on_a_device_removes_those_of_other_devices(here, capsys, monkeypatch):
    fill(here / "cache")
    gpu(monkeypatch)
    out = run(capsys, "engines", "--prune", "--json")[1]
    why = sorted(r["why"] for r in json.loads(out)["removed"])
    assert len(why) == 5 and sum(w.startswith("built for another device") for w in why) == 2
    assert names(here / "cache") == [".engine", ".json"]


def test_prune_with_a_bundle_leaves_nothing_but_its_engines(here, capsys, engines):
    shutil.copytree(engines, here / "cache")
    fill(here / "cache")
    code, out, _ = run(capsys, "engines", "--prune", "bün del")
    assert code == 0 and out.count("not of this bundle") == 3
    assert sorted(f.fingerprint.unit for f in Cache().entries()) == sorted(UNITS)
    assert "cached" in run(capsys, *BUILD)[1]


def test_prune_leaves_what_is_being_built(here, capsys):
    cache = fill(here / "cache")
    key = make_key(package="tensorrt_rtx", version="1.0", target=SM86)
    with cache.locked(key):
        _, out, err = run(capsys, "engines", "--prune")
    assert "kept segment-1 fp32: another process is building it" in err and "removed 2 from" in out


def test_prune_goes_by_the_tensorrt_that_can_be_loaded(here, capsys, monkeypatch):
    fill(here / "cache")

    def broken(package=None):
        raise EngineError("cannot be loaded")

    monkeypatch.setattr("jetson.engines.tensorrt.api.load_api", broken)
    assert "removed 2 from" in run(capsys, "engines", "--prune")[1]


def test_a_second_run_starts_no_process_and_looks_at_tensorrt_for_its_version_alone(here, capsys, monkeypatch, engines):
    shutil.copytree(engines, here / "cache")
    monkeypatch.setattr(subprocess, "Popen", lambda *_a, **_k: pytest.fail("a process was started"))
    monkeypatch.setattr(load_api("tensorrt_rtx").trt, "Builder", None)
    assert run(capsys, *BUILD)[0] == 0


def test_bars_are_shown_on_a_terminal(here):
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "toolkit", *BUILD]
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=child, env=environment)
    os.close(child)
    said = b""
    try:
        while chunk := os.read(parent, 1 << 16):
            said += chunk
    except OSError:  # a terminal that nobody writes to any more
        pass
    os.close(parent)
    assert process.wait() == 0
    assert all(f"unit {u} in fp32".encode() in said for u in UNITS) and "━".encode() in said
