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
from typing import Any

import pytest

from tests import workers
from tests.network import watched


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C and SIGHUP, also where whoever started us ignores them (a shell's background job, nohup): children
    inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.pluginmanager.register(Imports())
    workers.keep_to_own_cores(config)
    os.environ.pop("COLUMNS", None)  # tables are as wide in a worker, or in a shell that exports it, as anywhere


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Groups of tests to workers."""
    return workers.scheduler(config, log)


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
    """A cache of engines of the tests' own and no config file, in this process and in those it starts."""
    folder = tmp_path_factory.mktemp("engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFRAMP_CACHE", str(folder))
        patch.setenv("OFFRAMP_CONFIG", os.devnull)  # whoever runs the tests may have a file
        yield folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests that look at the demo come last: it runs beside those of the toolkit.

    With several workers they come first: one waits for the demo, which runs on its cores, while the others go on.
    """
    if workers.is_worker(config):
        workers.longest_first(items, wants_demo)
    else:
        items.sort(key=wants_demo)


def wants_demo(item: pytest.Item) -> bool:
    return "demo_run" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def demo_begun(
    request: pytest.FixtureRequest, engine_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.Popen[bytes]] | None]:
    """Where a test will look at it, an `offramp demo` that has begun: its folder, and the process.

    It takes a minute and one core. What it prints goes to `out` and `err`.
    """
    if not any(map(wants_demo, request.session.items)):
        yield None
        return
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        words = [sys.executable, "-m", "toolkit", "demo", "--out", str(folder / "runs" / "demo")]
        env = watched(folder, environment())
        process = subprocess.Popen(words, env=env, stdout=out, stderr=err, start_new_session=True)
    yield folder, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def demo_run(demo_begun: tuple[Path, subprocess.Popen[bytes]]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One `offramp demo`, run once for all tests that look at it: its folder, and what it printed."""
    folder, process = demo_begun
    code = process.wait()
    out, err = ((folder / name).read_text() for name in ("out", "err"))
    return folder / "runs" / "demo", subprocess.CompletedProcess(process.args, code, out, err)


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
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


def environment() -> dict[str, str]:
    """In which `python -m toolkit` runs this checkout from any folder."""
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
