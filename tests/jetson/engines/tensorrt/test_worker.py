"""Workers that crash, are killed, print nonsense or do not listen; and builds on a device, with a TensorRT made up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jetson.engines.tensorrt.build import build
from jetson.engines.tensorrt.cache import Cache
from jetson.engines.tensorrt.jobs import ParseJob, Progress
from jetson.engines.tensorrt.preflight import preflight
from jetson.engines.tensorrt.process import Worker, describe_end, ended, hear_any
from jetson.errors import EngineError, MissingExtra
from tests.bundles import replace_unit, tiny_bundle
from tests.jetson.engines.tensorrt.building import Witness, make_task, names, write_onnx
from tests.jetson.engines.tensorrt.fake_builder import install


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """A function that builds one unit with a TensorRT that does as told; gives the outcome and the cache."""

    def run(do, witness=None):
        monkeypatch.syspath_prepend(str(install(tmp_path / "fake", do)))
        file = write_onnx(tmp_path / "unit.onnx", [("Tanh", "t")])
        cache = Cache(tmp_path / "cache")
        outcome = build([make_task(file, workspace_bytes=7)], cache, witness or Witness())[0]
        return outcome, cache

    return run


def test_an_engine_for_this_device_is_loaded_once_and_tells_its_scratch(attempt):
    witness = Witness()
    outcome, cache = attempt("", witness)
    assert outcome.error == "" and outcome.entry.fingerprint.device_memory_bytes == 4096
    assert cache.read(outcome.entry) == b"plan of 7 bytes workspace"
    assert witness.shares == sorted(witness.shares)


@pytest.mark.parametrize(
    ("do", "says"),
    [
        ("no builder", "TensorRT does not start: factory function returned nullptr"),
        ("refuse", "TensorRT's parser cannot read it: Odd (no reason given)"),
        ("nothing", "TensorRT's builder gave no engine: no tactic for node mix"),
        ("no engine", "TensorRT built the engine and cannot load it: the weather is fine"),
        ("crash", "TensorRT crashed (SIGSEGV); the last that was said: about to fall over"),
        (
            "killed",
            "its build was killed, most likely for lack of memory: close other programs, add swap, or give --jobs",
        ),
        ("exit", "its build ended without a result (exit code 7); the last that was said: the weather is fine"),
    ],
)
def test_every_failure_is_one_line_with_tensorrts_own_words(attempt, do, says):
    outcome, cache = attempt(do)
    assert outcome.error.startswith(f"unit segment-1 in fp32: {says}") and "\n" not in outcome.error
    assert names(cache.folder) == [] and cache.find(outcome.task.key) is None


def test_what_tensorrt_prints_garbles_nothing(attempt, capfd):
    outcome, _ = attempt("")
    assert outcome.entry is not None
    assert capfd.readouterr() == ("", "")


def test_without_words_of_tensorrt_the_last_line_on_stderr_is_given(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text(
        "import sys\nprint('libnvinfer: odd', file=sys.stderr)\nimport os\nos._exit(3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    task = make_task(write_onnx(tmp_path / "unit.onnx", [("Tanh", "t")]))
    error = build([task], Cache(tmp_path / "cache"), Witness())[0].error
    assert error.endswith("ended without a result (exit code 3); the last that was said: libnvinfer: odd")


def test_a_tensorrt_that_cannot_be_loaded_is_said_by_the_worker(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    task = make_task(write_onnx(tmp_path / "unit.onnx", [("Tanh", "t")]))
    error = build([task], Cache(tmp_path / "cache"), Witness())[0].error
    assert "cannot be loaded (tensorrt: libnvinfer.so.10: cannot open)" in error


def building(tmp_path, monkeypatch, do):
    from jetson.engines.tensorrt.build import _job

    monkeypatch.syspath_prepend(str(install(tmp_path / "fake", do)))
    task = make_task(write_onnx(tmp_path / "unit.onnx", [("Tanh", "t")]))
    return Worker(_job(task, tmp_path / "engine"))


def test_a_build_is_cancelled_between_two_steps(tmp_path, monkeypatch):
    worker = building(tmp_path, monkeypatch, "patient")
    with ended([worker]):
        while not any(isinstance(a, Progress) for a in worker.answers):
            hear_any([worker], 30)
            assert worker.pipes
    assert worker._process.returncode == 0 and not (tmp_path / "engine").exists()


@pytest.mark.slow
def test_a_build_that_does_not_listen_is_ended_all_the_same(tmp_path, monkeypatch):
    worker = building(tmp_path, monkeypatch, "deaf")
    with ended([worker]):
        while not worker.log.warnings:
            hear_any([worker], 30)
            assert worker.pipes
    assert worker._process.returncode == 1  # by itself, as it does when the parent is killed


@pytest.mark.slow
def test_a_stopped_worker_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("jetson.engines.tensorrt.process.END_GRACE_S", 0.3)
    worker = building(tmp_path, monkeypatch, "deaf")
    with ended([worker]):
        os.kill(worker.pid, signal.SIGSTOP)
    assert worker._process.returncode == -signal.SIGKILL


def test_ctrl_c_is_for_the_parent(tmp_path, monkeypatch):
    worker = building(tmp_path, monkeypatch, "patient")
    with ended([worker]):
        while not worker.log.warnings:
            hear_any([worker], 30)
            assert worker.pipes
        os.kill(worker.pid, signal.SIGINT)
        worker.answers.clear()
        while not worker.answers:
            hear_any([worker], 30)
            assert worker.pipes
    assert worker._process.returncode == 0


def test_a_worker_gives_itself_up_first_when_memory_ends(tmp_path, monkeypatch):
    if not Path("/proc/self/oom_score_adj").exists():
        pytest.skip("not Linux")
    worker = building(tmp_path, monkeypatch, "patient")
    with ended([worker]):
        while not worker.log.warnings:
            hear_any([worker], 30)
            assert worker.pipes
        assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text() == "1000\n"


def test_the_users_folder_is_not_on_the_workers_path(tmp_path, monkeypatch):
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('not this one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", ".")])
    with ended([worker := Worker(ParseJob(sources=(), package="no_such_tensorrt"))]):
        while worker.pipes:
            hear_any([worker], 30)
    assert worker.answers[0].missing and worker.wait() == 0


def test_an_end_is_described():
    assert describe_end(-signal.SIGBUS, "") == "TensorRT crashed (SIGBUS)"
    assert describe_end(-63, "") == "TensorRT crashed (signal 63)"


def test_a_worker_without_a_job_ends():
    code = "from jetson.engines.tensorrt.worker import main; main()"
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=False)
    assert done.returncode == 1 and done.stdout == b""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("preflight") / "b ü", exits=((2, "mlp"), (4, "head")))


def test_the_preflight_finds_nothing_wrong_with_good_units(bundle):
    pytest.importorskip("tensorrt_rtx")
    assert preflight(bundle, ["fp32", "fp16"]) == []
    assert preflight(bundle, ["int8"]) == []


def test_the_preflight_names_every_bad_node_of_every_unit(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    bundle = tiny_bundle(tmp_path / "bundle", exits=((2, "mlp"), (4, "head")))
    bad = write_onnx(tmp_path / "bad.onnx", [("Frobnicate", "one"), ("Tanh", "fine"), ("Wobble", "two")]).read_bytes()
    for name in ("branch-2-mlp", "head"):
        bundle = replace_unit(bundle, name, bad)
    found = preflight(bundle, ["fp32"])
    assert [(f.unit, f.precision, [n.operator for n in f.nodes]) for f in found] == [
        ("branch-2-mlp", "fp32", ["Frobnicate", "Wobble"]),
        ("head", "fp32", ["Frobnicate", "Wobble"]),
    ]
    assert "Frobnicate 'one'" in str(found[0]) and "\n" not in str(found[0])


def test_a_parser_that_crashes_costs_one_unit(bundle, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "fake", "crash on segment-2.onnx")))
    found = preflight(bundle, ["fp32"])
    said = {f.unit: f.reason for f in found}
    assert said["segment-2"] == "TensorRT crashed (SIGSEGV)"
    assert list(said) == [u.name for u in bundle.manifest.units]  # the made-up parser gets every signature wrong
    assert "which is not what the manifest says" in said["head"]


def test_a_preflight_without_tensorrt_says_so(bundle, tmp_path, monkeypatch):
    for package in ("tensorrt", "tensorrt_rtx"):
        (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('no', name={package!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtra, match=r"offramp\[rtx\]"):
        preflight(bundle, ["fp32"])
    (tmp_path / "tensorrt.py").write_text("import os\nos.abort()\n")
    with pytest.raises(EngineError, match=r"parser does not start: TensorRT crashed \(SIGABRT\)"):
        preflight(bundle, ["fp32"])
