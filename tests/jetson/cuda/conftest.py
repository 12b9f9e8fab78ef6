"""The software driver, built once, and what is needed to run something on it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from jetson.cuda import NAMES

HERE = Path(__file__).parent


class Result(NamedTuple):
    """Of a process that ran one check."""

    code: int
    said: list[str]
    """Lines on stdout before the last."""
    left: dict[str, int]
    """What the driver still counted at the end."""
    errors: str


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def software_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libcuda.so.1 on host memory."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler: the software CUDA driver cannot be built")
    folder = tmp_path_factory.mktemp("driver")
    options = "-Wall -Wextra -Wno-unused-parameter -Werror -O1 -g -shared -fPIC -pthread -Wl,-soname,libcuda.so.1"
    library, source = folder / "libcuda.so.1", HERE / "software_driver.c"
    subprocess.run([compiler, *options.split(), "-o", str(library), str(source), "-ldl"], check=True)
    return folder


@pytest.fixture(params=NAMES, scope="session")
def package(request: pytest.FixtureRequest) -> str:
    """Each implementation whose package is installed."""
    name: str = request.param
    try:
        there = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package it lies in
        there = False
    if not there:
        pytest.skip(f"{name} is not installed here")
    return name


@pytest.fixture(scope="session")
def run(software_driver: Path, package: str) -> Run:
    """Run a check or a scenario with a package on the software driver, in a process of its own."""

    def run(what: str, **settings: object) -> Result:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SOFT_CUDA", "CUDA_"))}
        environment["LD_LIBRARY_PATH"] = str(software_driver)
        environment |= {key: str(value) for key, value in settings.items()}
        done = subprocess.run(
            [sys.executable, "-m", "tests.jetson.cuda.software", package, what],
            cwd=HERE.parents[2],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        *said, last = done.stdout.splitlines() or [""]
        assert last.startswith("{"), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Result(done.returncode, said, json.loads(last), done.stderr)

    return run
