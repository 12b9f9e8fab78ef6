"""Which package `load_cuda` takes, and what it says when there is none that works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jetson import cuda
from jetson.cuda import load_cuda
from jetson.errors import BadInput, CudaError, MissingExtra


@pytest.fixture(autouse=True)
def own_modules() -> Iterator[None]:
    """Whatever a test puts in the place of the packages is gone after it, also for a test that imports them."""

    def take() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.split(".")[0] in ("pycuda", "cuda")]
        return {name: sys.modules.pop(name) for name in names}

    before = take()
    yield
    take()
    sys.modules.update(before)


@pytest.fixture
def packages(own_modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a package on the path whose module runs the given code when it is imported."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(module: str, code: str) -> None:
        file = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        for folder in reversed(file.relative_to(tmp_path).parents[:-1]):
            (tmp_path / folder).mkdir(exist_ok=True)
            init = tmp_path / folder / "__init__.py"
            if not init.exists():
                init.write_text("__version__ = '13.0.0'\n")
        file.write_text(code)

    return put


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_unknown_name() -> None:
    with pytest.raises(BadInput, match=r"unknown CUDA package 'cupy'; the packages are pycuda, cuda.bindings"):
        load_cuda("cupy")


@pytest.mark.parametrize(
    ("pycuda", "bindings", "taken"),
    [
        ("works", "works", "pycuda"),
        ("broken", "works", "cuda.bindings"),
        ("missing", "works", "cuda.bindings"),
        ("works", "missing", "pycuda"),
        ("missing", "missing", MissingExtra),
        ("broken", "missing", CudaError),
        ("missing", "broken", CudaError),
        ("broken", "broken", CudaError),
    ],
)
def test_choice(monkeypatch: pytest.MonkeyPatch, pycuda: str, bindings: str, taken: Any) -> None:
    states = {"pycuda": pycuda, "cuda.bindings": bindings}

    def fake(name: str, device: int) -> Any:
        assert device == 3
        if states[name] == "works":
            return name
        raise MissingExtra(f"no {name}") if states[name] == "missing" else CudaError(f"{name} does not start")

    monkeypatch.setattr(cuda, "_open", fake)
    if isinstance(taken, str):
        assert load_cuda(device=3) == taken
        for name, state in states.items():
            if state == "works":
                assert load_cuda(name, 3) == name
        return
    with pytest.raises(taken) as caught:
        load_cuda(device=3)
    for name, state in states.items():
        assert (f"{name} does not start" in str(caught.value)) == (state == "broken")


def test_same_reason_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(name: str, device: int) -> Any:
        raise CudaError("no driver")

    monkeypatch.setattr(cuda, "_open", fake)
    with pytest.raises(CudaError, match=r"^no driver$"):
        load_cuda()


def test_a_bug_is_not_taken_for_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(name: str, device: int) -> Any:
        raise TypeError("ours")

    monkeypatch.setattr(cuda, "_open", fake)
    with pytest.raises(TypeError):
        load_cuda()


def test_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pycuda", "cuda")
    with pytest.raises(MissingExtra) as caught:
        load_cuda()
    message = str(caught.value)
    assert "on a Jetson pip install 'offramp[jetson]'" in message and "elsewhere pip install 'offramp[cuda]'" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("name", "extra"), [("pycuda", "jetson"), ("cuda.bindings", "cuda")])
def test_named_package_is_not_installed(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    hide(monkeypatch, "pycuda", "cuda")
    with pytest.raises(MissingExtra, match=rf"offramp\[{extra}\]"):
        load_cuda(name)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("ImportError('libcuda.so.1: cannot open shared object file')", "there is no NVIDIA driver here"),
        ("ImportError('_driver.so: undefined symbol: cuCtxCreate_v4')", "built for another CUDA than the driver"),
        ("ImportError('libcurand.so.10: cannot open shared object file')", "installed and cannot be loaded: build"),
        ("ModuleNotFoundError('pycuda._driver', name='pycuda._driver')", "installed and cannot be loaded: build"),
        ("ModuleNotFoundError('pytools', name='pytools')", "installed and cannot be loaded: build"),
        ("OSError('disk')", "installed and cannot be loaded: build"),
    ],
)
def test_broken_pycuda(packages: Any, monkeypatch: pytest.MonkeyPatch, recwarn: Any, raised: str, message: str) -> None:
    packages("pycuda.driver", f"import warnings\nwarnings.warn('noise')\nraise {raised}\n")
    with pytest.raises(CudaError, match=message):
        load_cuda("pycuda")
    assert not recwarn.list
    hide(monkeypatch, "cuda")
    with pytest.raises(CudaError, match=message):
        load_cuda()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ImportError('driver.so: GLIBC_2.38 not found')", r"cannot be loaded: driver.so: GLIBC_2.38 not found"),
        ("raise ModuleNotFoundError('cuda.pathfinder', name='cuda.pathfinder')", "cannot be loaded: cuda.pathfinder"),
        ("raise RuntimeError('no libcuda')", "cannot be loaded: no libcuda"),
        ("def cuInit(flags): raise RuntimeError('Failed to dlopen')", "there is no NVIDIA driver here"),
        ("def cuInit(flags): raise OSError('odd')", "there is no NVIDIA driver here"),
    ],
)
def test_broken_bindings(packages: Any, monkeypatch: pytest.MonkeyPatch, code: str, message: str) -> None:
    packages("cuda.bindings.driver", code + "\n")
    with pytest.raises(CudaError, match=message):
        load_cuda("cuda.bindings")
    hide(monkeypatch, "pycuda")
    with pytest.raises(CudaError, match=message):
        load_cuda()


def test_another_package_called_cuda(packages: Any) -> None:
    packages("cuda.cudart", "")  # cuda-python 11 has no cuda.bindings
    with pytest.raises(MissingExtra, match=r"offramp\[cuda\]"):
        load_cuda("cuda.bindings")
