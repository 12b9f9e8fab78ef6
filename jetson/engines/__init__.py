"""Engines: what runs a unit. One protocol, one module per engine, imported when it is chosen."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jetson.bundle import Bundle
from jetson.errors import BadInput
from jetson.profiling.profile import EngineInfo

NAMES = ("onnxruntime",)


class Engines(Protocol):
    """All units of one bundle, loaded, their inputs and outputs bound to memory that they share.

    Units are named by their index in the manifest. A segment writes where the next one, and the branches behind it,
    read; nothing is copied between units.
    """

    info: EngineInfo
    input: npt.NDArray[np.float32]
    """The first segment's input, 1 x channels x height x width; the preprocessor writes here."""

    def run(self, unit: int) -> None:
        """Run a unit to its end.

        Raises:
            EngineError: the engine failed; the message names the unit.
        """
        ...

    def output(self, unit: int) -> npt.NDArray[Any]:
        """A unit's output as the host sees it, valid until the units before it run again."""
        ...

    def close(self) -> None:
        """Free what the engines hold."""
        ...


def load_engines(bundle: Bundle, name: str = "onnxruntime", threads: int | None = None) -> Engines:
    """Load every unit of a bundle.

    Args:
        bundle: opened and verified.
        name: which engine.
        threads: for engines on the CPU; all cores this process may use when None.

    Raises:
        BadInput: no such engine.
        MissingExtra: the engine's package is not installed.
        EngineError: a unit cannot be loaded.
    """
    if name == "onnxruntime":
        from jetson.engines.onnxruntime import OnnxRuntimeEngines

        return OnnxRuntimeEngines(bundle, threads)
    raise BadInput(f"unknown engine {name!r}; the engines are {', '.join(NAMES)}")
