"""Libraries that crash, hang or lie, each in a process of its own."""

import sys

import pytest

from jetson.doctor.child import MARK, Trial, Tried
from jetson.doctor.facts import facts_of, trials


@pytest.fixture
def library(make, tmp_path):
    """A function that tries a library of our own making, found before any other."""

    def attempt(source, name="onnxruntime", subject="module", seconds=30.0):
        package = tmp_path / "first" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        machine = make(modules=(str(tmp_path / "first"), *sys.path), child_seconds=seconds)
        return Trial(machine, subject, name).result()

    return attempt


def test_a_library_that_works(library):
    noise = "print('hello'); import sys; print('noise', file=sys.stderr)\n"
    assert library(f"{noise}__version__ = '1.2.3'") == Tried(state="ok", version="1.2.3")


def test_a_library_that_is_not_there(make):
    machine = make(modules=tuple(sys.path))
    assert Trial(machine, "module", "no_such_library_anywhere").result() == Tried(state="absent")


def test_the_working_folder_is_not_looked_into(make, tmp_path, monkeypatch):
    for name in ("msgspec.py", "json.py", "onnxruntime.py"):
        (tmp_path / name).write_text("raise SystemExit('from the working folder')")
    monkeypatch.chdir(tmp_path)
    machine = make(modules=tuple(p for p in sys.path if p))
    assert Trial(machine, "module", "onnxruntime").result().state == "ok"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("import ctypes; ctypes.string_at(0)", "crashed (SIGSEGV)"),
        ("import os; os.abort()", "crashed (SIGABRT)"),
        (
            "raise ImportError('libnvinfer.so.10: cannot open shared object file\\nand more')",
            "libnvinfer.so.10: cannot",
        ),
        ("import a_library_that_this_one_needs", "No module named 'a_library_that_this_one_needs'"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import os; os._exit(0)", "ended with exit code 0"),
        ("def broken(:", "invalid syntax"),
        ("class E(Exception):\n  def __str__(self): return ''\nraise E", "E"),
        (f"print({MARK!r} + 'no json', flush=True); import os; os._exit(0)", f"{MARK}no json"),
        (f'print({MARK!r} + \'{{"state": "splendid"}}\', flush=True); import os; os._exit(0)', "splendid"),
    ],
)
def test_a_library_that_fails_says_why(library, source, why):
    tried = library(source)
    assert tried.state == "failed" and why in tried.why and tried.why.isprintable()


def test_a_library_that_hangs(library):
    tried = library("import time; time.sleep(60)", seconds=1.0)
    assert tried == Tried(state="failed", why="did not answer within 1 s")


def test_a_library_that_crashes_after_its_work_has_worked(library):
    source = "__version__ = '1'\nimport atexit, os; atexit.register(os.abort)"
    assert library(source) == Tried(state="ok", version="1")


def test_tensorrt_that_needs_a_library(library):
    # As import tensorrt says it on JetPack 6.2 without nvidia-l4t-dla-compiler.
    source = "raise ImportError('libnvdla_compiler.so: cannot open shared object file: No such file or directory')"
    assert "libnvdla_compiler.so" in library(source, "tensorrt", "tensorrt").why


@pytest.mark.parametrize(
    ("builder", "trouble"),
    [
        ("def Builder(log):\n  log.log(ILogger.ERROR, 'CUDA initialization failure\\nwith error: 35')\n  1 / 0",
         "CUDA initialization failure with error: 35"),
        ("def Builder(log): return None", "TensorRT made no builder"),
        ("def Builder(log): return 1", ""),
    ],
)  # fmt: skip
def test_tensorrt_that_makes_no_builder(library, builder, trouble):
    logger = "class ILogger:\n  INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2\n  def __init__(self): pass\n"
    tried = library(f"__version__ = '10.3.0'\n{logger}{builder}", "tensorrt", "tensorrt")
    assert (tried.state, tried.version, tried.builder, tried.targets) == ("ok", "10.3.0", trouble, ())


def test_pycuda_that_crashes(library):
    assert library("import os; os.abort()", "pycuda", "cuda").why == "crashed (SIGABRT)"


def test_tensorrt_for_rtx_as_it_is(make):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    tried = Trial(make(modules=tuple(sys.path), child_seconds=120.0), "tensorrt", "tensorrt_rtx").result()
    assert tried.state == "ok" and tried.builder == "" and 86 in tried.targets


def test_everything_is_tried_side_by_side_and_stopped_at_the_end(make):
    machine = make(modules=tuple(sys.path), child_seconds=60.0)
    with pytest.raises(KeyboardInterrupt), trials(machine) as started:
        processes = [t._running._process for t in started.values()]
        raise KeyboardInterrupt
    assert len(processes) == 5 and all(p.poll() is not None for p in processes)


def test_a_trial_that_goes_wrong_on_our_side_is_a_failure(make, monkeypatch):
    monkeypatch.setattr("jetson.doctor.child.Trial.result", lambda _self: 1 / 0)
    with trials(make(child_seconds=0.0)) as started:
        facts = facts_of(make(), started)
    assert facts.onnxruntime.state == "failed" and "ZeroDivisionError" in facts.onnxruntime.why
