"""TensorRT engines of a bundle's units, sharing one scratch block and two token buffers."""

from __future__ import annotations

from collections.abc import Sequence

from jetson.bundle import Bundle
from jetson.manifest import Precision


class TensorRTEngines:
    """`Engines` on TensorRT."""

    def __init__(self, bundle: Bundle, precisions: Sequence[Precision]) -> None:
        raise NotImplementedError
