"""Engines: what runs a unit. One protocol, one module per engine, imported when it is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jetson.beside import beside
from jetson.bundle import Bundle
from jetson.errors import BadInput
from jetson.log import get_logger, timed
from jetson.manifest import Precision
from jetson.profiling.memory import MemoryUse
from jetson.profiling.profile import EngineInfo
from jetson.quiet import import_onnxruntime

logger = get_logger(__name__)
NAMES = ("onnxruntime", "tensorrt")


class Engines(Protocol):
    """All units of one bundle, loaded, their inputs and outputs bound to memory that they share.

    Units are named by their index in the manifest. A segment writes where the next one, and the branches behind it,
    read; nothing is copied between units.
    """

    info: EngineInfo
    precisions: tuple[Precision, ...]
    """What each unit runs in."""
    ahead: bool
    """Whether `run_path` is cheaper than a `run` for each of its units, since the host need not wait in between."""
    memory: MemoryUse | None
    """What it holds; None where the engine does not tell."""
    input: npt.NDArray[np.float32]
    """The first segment's input, 1 x channels x height x width; the preprocessor writes here."""

    def run(self, unit: int) -> None:
        """Run a unit to its end.

        Raises:
            EngineError: the engine failed; the message names the unit.
        """
        ...

    def run_path(self, units: Sequence[int]) -> None:
        """Run units one after another to the end of the last, without waiting for the host in between.

        Raises:
            PathError: an engine failed; the error says which unit, and how many before it have run.
        """
        ...

    def gpu_ms(self, unit: int) -> float | None:
        """Milliseconds the unit last took on the GPU, between two events on its stream; None without a GPU."""
        ...

    def output(self, unit: int) -> npt.NDArray[Any]:
        """A unit's output as the host sees it, valid until the units before it run again."""
        ...

    def close(self) -> None:
        """Free what the engines hold."""
        ...


class BatchEngines(Protocol):
    """The units of one bundle once more, for several frames at once.

    The first axis of every array is that of the frames.
    """

    most: int
    """Frames at once."""

    def input(self, frames: int) -> npt.NDArray[np.float32]:
        """The first segment's input; the preprocessor writes here."""
        ...

    def run(self, unit: int, frames: int) -> None:
        """Run a unit to its end.

        Raises:
            EngineError: the engine failed; the message names the unit.
        """
        ...

    def output(self, unit: int, frames: int) -> npt.NDArray[Any]:
        """A unit's output, valid until the units before it run again."""
        ...

    def close(self) -> None:
        """Free what the engines hold."""
        ...


def load_engines(
    bundle: Bundle,
    name: str = "onnxruntime",
    threads: int | None = None,
    precisions: Sequence[Precision] | None = None,
) -> Engines:
    """Load every unit of a bundle.

    Args:
        bundle: opened and verified.
        name: which engine.
        threads: for engines on the CPU; all cores this process may use when None.
        precisions: the one each unit runs in; see `default_precisions` for None.

    Raises:
        BadInput: no such engine.
        BundleError: a unit is not there in its precision.
        MissingExtra: the engine's package is not installed.
        EngineError: a unit cannot be loaded.
    """
    if name not in NAMES:
        raise BadInput(f"unknown engine {name!r}; the engines are {', '.join(NAMES)}")
    chosen = tuple(precisions if precisions is not None else default_precisions(bundle, name))
    bundle.manifest.identity_at(chosen)  # refuses a precision that a unit does not have
    made: Engines
    with timed(logger, "loaded %d units of %s into %s", len(chosen), bundle.path, name):
        if name == "tensorrt":
            from jetson.engines.tensorrt.engines import TensorRTEngines

            made = TensorRTEngines(bundle, chosen)
        else:
            from jetson.engines.onnxruntime import OnnxRuntimeEngines

            made = OnnxRuntimeEngines(bundle, threads, chosen)
    logger.debug("%s %s, %d threads, precisions %s", name, made.info.version, made.info.threads, ", ".join(chosen))
    return made


def load_batches(bundle: Bundle, engines: Engines, most: int) -> BatchEngines:
    """Load every unit of a bundle once more, for several frames at once.

    Args:
        bundle: that `engines` were loaded from.
        engines: for one frame.
        most: frames at once.

    Raises:
        BadInput: these engines, or the bundle's units, take one frame at a time.
        EngineError: a unit cannot be loaded.
    """
    from jetson.engines.batches import OnnxRuntimeBatches
    from jetson.engines.onnxruntime import OnnxRuntimeEngines

    if not isinstance(engines, OnnxRuntimeEngines):
        raise BadInput(f"batches run on onnxruntime only: the runtime's {engines.info.name} engines take one frame")
    return OnnxRuntimeBatches(bundle, engines, most)


def prepare_engine(name: str) -> None:
    """Begin to import the engine's package in a thread beside this one; where it is missing, loading says so."""
    if name == "onnxruntime":
        beside(import_onnxruntime)


def default_precisions(bundle: Bundle, name: str) -> tuple[Precision, ...]:
    """What an engine runs when nobody says.

    The bundle's plan where it has one for this engine; else half precision on a GPU where every unit has it; else each
    unit's own.
    """
    manifest = bundle.manifest
    if name in manifest.plans:
        return manifest.plans[name]
    if name == "tensorrt" and "fp16" in manifest.precisions:
        return manifest.nearest("fp16")
    return tuple(u.precision for u in manifest.units)
