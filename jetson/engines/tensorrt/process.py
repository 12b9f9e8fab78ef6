"""The parent's side of worker processes: start them, hear them, end them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from jetson.engines.tensorrt.jobs import Answer, Job, Said
from jetson.engines.tensorrt.log import Log
from jetson.errors import EngineError

END_GRACE_S = 4.0
KEPT_STDERR_BYTES = 4096
# Not `python -m`: that would put the folder the user is in before everything else on the path.
START = "import sys; sys.path[:] = {path!r}; from jetson.engines.tensorrt.worker import main; sys.exit(main())"


class Worker:
    """One worker process and what it has said."""

    def __init__(self, job: Job) -> None:
        """Start the process and hand it its job.

        Raises:
            EngineError: the process cannot be started.
        """
        path = [str(Path(p).absolute()) for p in sys.path]
        command = [sys.executable, "-c", START.format(path=path)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise EngineError(f"a process for the build cannot be started: {error.strerror or error}") from error
        self.pid = self._process.pid
        self.log = Log()
        self.answers: list[Answer] = []
        """Heard and not yet taken by who looks at them; without `Said`, which is in the log."""
        self._half = b""
        self._stderr = b""
        self._open = {self._pipe(self._process.stdout): True, self._pipe(self._process.stderr): False}
        with contextlib.suppress(OSError):  # it may be dead already; then its pipes end
            stdin = self._process.stdin
            assert stdin is not None
            stdin.write(msgspec.json.encode(job) + b"\n")
            stdin.flush()

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> int:
        assert stream is not None
        return stream.fileno()

    @property
    def pipes(self) -> tuple[int, ...]:
        """Descriptors to wait on; none when the process has ended."""
        return tuple(self._open)

    def hear(self, pipe: int) -> None:
        """Take in what has come through one of `pipes`."""
        chunk = os.read(pipe, 1 << 16)
        is_answers = self._open[pipe]
        if not chunk:
            del self._open[pipe]
        elif not is_answers:
            self._stderr = (self._stderr + chunk)[-KEPT_STDERR_BYTES:]
        else:
            *lines, self._half = (self._half + chunk).split(b"\n")
            for line in lines:
                answer = msgspec.json.decode(line, type=Answer)
                if isinstance(answer, Said):
                    self.log.add(answer.text, answer.error)
                else:
                    self.answers.append(answer)

    def wait(self) -> int:
        """Let it end; gives its exit status, negative for the signal that ended it."""
        status = self._process.wait()
        self._close()
        return status

    def ask(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def end(self) -> None:
        """Ask it to stop and, when it does not soon, kill it."""
        self.ask()
        until = time.monotonic() + END_GRACE_S
        with selectors.DefaultSelector() as selector:
            for pipe in self._open:
                selector.register(pipe, selectors.EVENT_READ)
            while self._open and (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if not os.read(key.fd, 1 << 16):  # it must not wait for us to read
                        selector.unregister(key.fd)
                        del self._open[key.fd]
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def last_words(self) -> str:
        """What TensorRT said last; when it said nothing, the last line on stderr."""
        if text := str(self.log):
            return text
        lines = self._stderr.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def hear_any(workers: list[Worker], timeout: float | None) -> None:
    """Wait until a worker says something or ends, and take it in."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            for pipe in worker.pipes:
                selector.register(pipe, selectors.EVENT_READ, worker)
        for key, _ in selector.select(timeout):
            key.data.hear(key.fd)


def describe_end(status: int, words: str) -> str:
    """Why a worker that has given no result ended, and what mends it.

    Args:
        status: of `Worker.wait`.
        words: of `Worker.last_words`.
    """
    said = f"; the last that was said: {words}" if words else ""
    if status == -signal.SIGKILL:
        return (
            "its build was killed, most likely for lack of memory: close other programs, add swap, or give "
            f"--jobs 1 and a smaller --workspace-mb{said}"
        )
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"TensorRT crashed ({name}){said}"
    return f"its build ended without a result (exit code {status}){said}"


@contextlib.contextmanager
def ended(workers: list[Worker]) -> Iterator[None]:
    """End all that still runs when the block is left, whatever the reason."""
    try:
        yield
    finally:
        # All are asked before one is waited for.
        for worker in workers:
            worker.ask()
        for worker in workers:
            worker.end()
