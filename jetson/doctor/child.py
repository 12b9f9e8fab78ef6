"""Try a library in a process of its own: what crashes or hangs there is a finding, not the end of the examination."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from jetson.doctor.machine import Machine, Running, plain
from jetson.errors import CudaError, MissingExtra, first_line
from jetson.quiet import SILENT
from jetson.record import Record

MARK = "offramp-doctor "
"""Begins the one line that counts; libraries print what they like beside it."""
START = "import sys; sys.path[:] = sys.argv[1].split('\\n'); from jetson.doctor.child import main; main(sys.argv[2:])"
"""Imports nothing before the path is the parent's, lest the working folder be found first."""


class Tried(Record, frozen=True, kw_only=True):
    """What came of trying a library."""

    state: Literal["ok", "absent", "failed"]
    version: str = ""
    why: str = ""
    """It failed."""
    # CUDA
    gpu: str = ""
    compute_capability: tuple[int, int] = (0, 0)
    total_bytes: int = 0
    free_bytes: int = 0
    integrated: bool = False
    driver_version: int = 0
    # TensorRT
    builder: str = ""
    """Why no builder can be made; empty when it can."""
    targets: tuple[int, ...] = ()
    """Compute capabilities this TensorRT is limited to, as 86 for 8.6; none when it is not."""


class Trial:
    """A trial under way."""

    def __init__(self, machine: Machine, subject: str, name: str) -> None:
        """Start it; several may run at once.

        Args:
            machine: under examination.
            subject: `cuda`, `tensorrt` or `module`.
            name: of the Python package.
        """
        path = [p for p in machine.modules if "\n" not in p]
        own = str(Path(__file__).resolve().parents[2])
        modules = "\n".join(path if own in path else [*path, own])
        self._running = Running([sys.executable, "-c", START, modules, subject, name], machine.child_seconds)

    def result(self) -> Tried:
        """Wait for it."""
        output = self._running.output()
        for line in reversed(output.text.splitlines()):
            if line.startswith(MARK):
                with contextlib.suppress(msgspec.MsgspecError, UnicodeError):
                    return msgspec.json.decode(line[len(MARK) :].encode(), type=Tried)
        last = plain(next((t for t in reversed(output.text.splitlines()) if t.strip()), ""))
        return Tried(state="failed", why=output.trouble or last or f"ended with exit code {output.code}")

    def stop(self) -> None:
        """End it; nothing is wanted of it any more."""
        self._running.stop()


def main(arguments: list[str]) -> None:
    """What runs in the child: try one library and print what came of it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash here is expected, its image not wanted
    subject, name = arguments
    os.environ[SILENT] = "1"
    trials: dict[str, Callable[[str], Tried]] = {"cuda": _cuda, "tensorrt": _tensorrt, "module": _module}
    try:
        tried = trials[subject](name)
    except MissingExtra:
        tried = Tried(state="absent")
    except Exception as error:
        tried = Tried(state="failed", why=plain(first_line(error)))
    print("\n" + MARK + msgspec.json.encode(tried).decode(), flush=True)
    os._exit(0)  # a library's farewell may crash or wait, and is nobody's concern


def _cuda(name: str) -> Tried:
    from jetson.cuda import load_cuda

    package = _version({"pycuda": "pycuda", "cuda.bindings": "cuda-bindings"}[name])
    try:
        cuda = load_cuda(name)
        cuda.enter()
        free, total = cuda.memory()
    except CudaError as error:
        return Tried(state="failed", version=package, why=plain(first_line(error)))
    device = cuda.device
    return Tried(
        state="ok",
        version=package,
        gpu=device.name,
        compute_capability=device.compute_capability,
        total_bytes=total or device.total_bytes,
        free_bytes=free,
        integrated=device.integrated,
        driver_version=device.driver_version,
    )


def _tensorrt(package: str) -> Tried:
    from jetson.engines.tensorrt.api import load_api
    from jetson.engines.tensorrt.log import Log, make_logger
    from jetson.engines.tensorrt.target import rtx_targets

    api = load_api(package)
    log, trouble = Log(), ""
    try:
        if api.trt.Builder(make_logger(api.trt, log.add)) is None:
            raise TypeError("TensorRT made no builder")
    except Exception as error:
        trouble = plain(log.errors[-1] if log.errors else first_line(error))
    targets = tuple(10 * high + low for high, low in rtx_targets(api).values())
    return Tried(state="ok", version=api.version, builder=trouble, targets=tuple(sorted(targets)))


def _module(name: str) -> Tried:
    import importlib

    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return Tried(state="absent")
        raise
    return Tried(state="ok", version=plain(str(getattr(module, "__version__", ""))))


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
