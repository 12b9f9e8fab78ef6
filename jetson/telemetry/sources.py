"""The sources of telemetry there are: jetson-stats, tegrastats, and the sensors themselves."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jetson.scheduling.budget import clock
from jetson.telemetry import ina3221, jtop, tegrastats
from jetson.telemetry.reading import Reading
from jetson.telemetry.recorder import Recorder, Source
from jetson.telemetry.zones import thermal_zones

SYS = Path("/sys")
JTOP_SOCKET = Path("/run/jtop.sock")
"""Of jetson-stats' service. Without it the package is not imported: its client looks through the system's libraries, in
a thread, before it finds out that nobody answers."""
JTOP_S, TEGRASTATS_S, SENSORS_S = 0.5, 0.1, 0.05
"""Between two readings. jetson-stats reads all there is at every turn, for all its clients."""
END_S = 2.0
"""A thread or a process that does not end in that time is left, or ended by force."""


class Jtop:
    """jetson-stats, through its service."""

    name = "jtop"
    interval_s = JTOP_S

    def __init__(self) -> None:
        """Ask the service.

        Raises:
            ImportError: jetson-stats is not installed.
            Exception: its service does not answer, whatever it raises then.
        """
        self._board: Any = importlib.import_module("jtop").jtop(interval=JTOP_S)
        self._board.start()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, recorder: Recorder) -> None:
        """Listen."""

        def listen() -> None:
            with contextlib.suppress(Exception):  # the service ended; what it told before stands
                while not self._over.is_set() and self._board.ok():
                    recorder.take(jtop.read(self._board, clock()))
            recorder.over()

        self._thread = threading.Thread(target=listen, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Leave the service."""
        self._over.set()
        with contextlib.suppress(Exception):
            self._board.close()
        if self._thread is not None:
            self._thread.join(END_S)


class Tegrastats:
    """tegrastats, a process that prints a line every so often."""

    name = "tegrastats"
    interval_s = TEGRASTATS_S

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def begin(self, recorder: Recorder) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            ["tegrastats", "--interval", str(round(1e3 * TEGRASTATS_S))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._listen, args=(recorder, self._process), daemon=True).start()

    def end(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @staticmethod
    def _listen(recorder: Recorder, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if (reading := tegrastats.parse(line, clock())) is not None:
                    recorder.take(reading)
        recorder.over()


class Sensors:
    """The power sensors and thermal zones as the kernel shows them."""

    name = "ina3221"
    interval_s = SENSORS_S

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, recorder: Recorder) -> None:
        """Read, and read again."""

        def look() -> None:
            while not self._over.is_set():
                began = clock()
                rails, zones = ina3221.rails_w(SYS), thermal_zones(SYS)
                # The middle of the look: the sensors were read one after another.
                recorder.take(Reading((began + clock()) / 2, rails, zones))
                self._over.wait(SENSORS_S)

        self._thread = threading.Thread(target=look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop reading."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(END_S)


def _sensors() -> Source | None:
    return Sensors() if ina3221.rails_w(SYS) else None


def _tegrastats() -> Source | None:
    return Tegrastats() if shutil.which("tegrastats") else None


def _jtop() -> Source | None:
    return Jtop() if JTOP_SOCKET.exists() else None


WAYS: tuple[Callable[[], Source | None], ...] = (_jtop, _tegrastats, _sensors)


def record() -> Recorder | None:
    """Begin to record from the first source that tells anything; None where there is none."""
    for way in WAYS:
        with contextlib.suppress(Exception):  # whatever jetson-stats or the system raises, the next source is tried
            source = way()
            if source is None:
                continue
            recorder = Recorder(source)
            if recorder.next() is not None:
                return recorder
            recorder.close()
    return None
