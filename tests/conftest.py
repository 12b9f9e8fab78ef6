"""What tests of the whole share."""

from __future__ import annotations

import functools
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C, also where whoever started us ignores it (a shell's background job): children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Imports())


class Imports:
    """Leaves what has been imported out of later garbage collections: with PyTorch there, each takes 0.3 s."""

    frozen = 0

    def pytest_collection_finish(self) -> None:
        self.freeze()

    def pytest_runtest_logfinish(self) -> None:
        if len(sys.modules) > self.frozen + 100:
            self.freeze()

    def freeze(self) -> None:
        gc.collect()
        gc.freeze()
        self.frozen = len(sys.modules)


@pytest.fixture(scope="session", autouse=True)
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of engines of the tests' own, in this process and in those it starts."""
    folder = tmp_path_factory.mktemp("engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFRAMP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One `offramp demo`, run once for all tests that look at it: its folder, and what it printed."""
    run = tmp_path_factory.mktemp("demo") / "runs" / "demo"
    return run, offramp("demo", "--out", str(run))


@pytest.fixture(scope="session")
def quick_exports() -> Iterator[None]:
    """PyTorch's exporter reads its table of operators anew for each module: half of the time that a small one takes."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        read = ONNXRegistry.from_torchlib
    except (ImportError, AttributeError):  # another PyTorch does it elsewhere, and takes its time
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(read)))
        yield


def offramp(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a user does."""
    command = [sys.executable, "-m", "toolkit", *words]
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
