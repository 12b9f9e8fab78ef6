"""Another process that keeps the device busy: the same bundle, its deepest exit, one frame after another."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jetson.bundle import Bundle
from jetson.engines import Engines, load_engines
from jetson.errors import EngineError, OfframpError
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import StaticExit

READY_S = 600.0
"""Loading takes seconds; where engines must be built first, far longer."""
END_S = 10.0
# Not `python -m`: that would put the folder the user is in before everything else on the path.
START = "import sys; sys.path[:] = {path!r}; from jetson.profiling.keep_busy import main; main()"


class Busy:
    """The other process, as the first sees it."""

    frame_ms: float | None = None
    """What a frame took there on average; known when it has ended."""


@contextlib.contextmanager
def busy(bundle: Bundle, engines: Engines) -> Iterator[Busy]:
    """Have another process at work on the same engine until the block ends.

    Args:
        bundle: that it runs.
        engines: whose engine, threads and precisions it takes.

    Raises:
        EngineError: it cannot be started, or ends before its time; the message says what it said.
    """
    path = [str(Path(p).absolute()) for p in sys.path]
    job = [str(bundle.path), engines.info.name, engines.info.threads, list(engines.precisions)]
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", START.format(path=path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError as error:
        raise EngineError(f"a process to keep the device busy cannot be started: {error.strerror or error}") from error
    try:
        found = Busy()
        with contextlib.suppress(OSError):
            _pipe(process.stdin).write(json.dumps(job) + "\n")
            _pipe(process.stdin).flush()
        _told(process, READY_S)
        yield found
        if process.poll() is not None:
            raise EngineError("the process that kept the device busy ended before its time")
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()
        found.frame_ms = float(_told(process, END_S)["frame_ms"])
    finally:
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _pipe(process.stdout).close()


def _told(process: subprocess.Popen[str], within_s: float) -> dict[str, Any]:
    """The next line of the other process."""
    timer = threading.Timer(within_s, process.kill)
    timer.start()
    try:
        found = json.loads(_pipe(process.stdout).readline() or '{"error": "it ended without a word"}')
    finally:
        timer.cancel()
    if "error" in found:
        raise EngineError(f"the process that keeps the device busy failed: {found['error']}")
    return dict(found)


def _pipe(stream: Any) -> Any:
    assert stream is not None
    return stream


def main() -> None:
    """The other process: work from the first line on stdin until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends us
    path, engine, threads, precisions = json.loads(sys.stdin.readline())
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    try:
        _work(Bundle.open(path), engine, threads, precisions, over)
    except OfframpError as error:
        print(json.dumps({"error": " ".join(str(error).split())}), flush=True)


def _work(bundle: Bundle, engine: str, threads: int, precisions: Any, over: threading.Event) -> None:
    engines = load_engines(bundle, engine, threads, precisions)
    paths = Paths.of(bundle.manifest)
    runtime = Runtime(bundle, engines, StaticExit(paths, len(paths.stages) - 1))
    size = bundle.manifest.preprocessing
    frame = np.random.default_rng(1).integers(0, 256, (size.height, size.width, size.channels), dtype=np.uint8)
    for _ in range(3):
        runtime.infer(frame, Budget.unbounded())
    print("{}", flush=True)
    frames, began = 0, clock()
    while not over.is_set():
        runtime.infer(frame, Budget.unbounded())
        frames += 1
    print(json.dumps({"frame_ms": (clock() - began) * 1e3 / max(frames, 1)}), flush=True)
    runtime.close()
