"""What every check may look at: the machine, and what came of trying its libraries."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jetson import cuda
from jetson.doctor.check import Finding
from jetson.doctor.child import Trial, Tried
from jetson.doctor.machine import Machine, plain
from jetson.engines.tensorrt import api
from jetson.errors import first_line
from jetson.profiling.device import gpu_name

ABSENT = Tried(state="absent")
CUDA_NAMES = {"pycuda": "PyCUDA", "cuda.bindings": "cuda.bindings"}


@dataclass(frozen=True)
class Facts:
    """The machine and its libraries."""

    machine: Machine
    cuda: dict[str, Tried]
    """By the names of `jetson.cuda.NAMES`, in their order."""
    tensorrt: dict[str, Tried]
    """By the names of `jetson.engines.tensorrt.api.PACKAGES`, in their order."""
    onnxruntime: Tried = ABSENT

    @property
    def cuda_used(self) -> tuple[str, Tried] | None:
        """The package behind the CUDA layer, as `load_cuda` chooses it."""
        return next(((n, t) for n, t in self.cuda.items() if t.state == "ok"), None)

    @property
    def tensorrt_used(self) -> tuple[str, Tried] | None:
        """The TensorRT that engines are built with, as `load_api` chooses it."""
        return next(((n, t) for n, t in self.tensorrt.items() if t.state == "ok"), None)

    @property
    def gpu(self) -> str | None:
        """The GPU's name, from CUDA or else from the driver; None where there is no NVIDIA GPU to be seen."""
        used = self.cuda_used
        return used[1].gpu if used else gpu_name(self.machine.path("proc"))

    @property
    def gpu_here(self) -> bool:
        """Whether there is an NVIDIA GPU, usable or not."""
        return self.gpu is not None or self.machine.jetson or self.machine.has("proc/driver/nvidia/version")


Checks = dict[str, Callable[[Facts], Finding]]
"""Of one subject: what looks, by the name of what it finds."""


@contextlib.contextmanager
def trials(machine: Machine) -> Iterator[dict[tuple[str, str], Trial]]:
    """Every trial, under way side by side; what still runs at the end is stopped."""
    subjects = [("cuda", n) for n in cuda.NAMES] + [("tensorrt", n) for n in api.PACKAGES] + [("module", "onnxruntime")]
    started: dict[tuple[str, str], Trial] = {}
    try:
        for subject, name in subjects:
            started[subject, name] = Trial(machine, subject, name)
        yield started
    finally:
        for trial in started.values():
            trial.stop()


def _result(trial: Trial) -> Tried:
    try:
        return trial.result()
    except Exception as error:
        return Tried(state="failed", why=plain(f"{type(error).__name__}: {first_line(error)}"))


def facts_of(machine: Machine, started: dict[tuple[str, str], Trial]) -> Facts:
    """Wait for the trials."""
    results = {key: _result(trial) for key, trial in started.items()}
    return Facts(
        machine=machine,
        cuda={n: results["cuda", n] for n in cuda.NAMES},
        tensorrt={n: results["tensorrt", n] for n in api.PACKAGES},
        onnxruntime=results["module", "onnxruntime"],
    )
