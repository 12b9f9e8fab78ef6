"""The line that builds the same engine with NVIDIA's own tool, for people who trust that."""

from __future__ import annotations

import shlex

from jetson.bundle import Bundle
from jetson.engines.tensorrt.build import Options
from jetson.manifest import Precision, Unit

DEFAULTS = Options()


def trtexec_line(bundle: Bundle, unit: Unit, precision: Precision, max_batch: int = 1) -> str:
    """The `trtexec` command for one unit, with the options that `offramp engines` builds with.

    `--stronglyTyped` must be said in TensorRT 10; 11 knows nothing else and takes it as said.

    Args:
        bundle: that holds the unit.
        unit: of it.
        precision: which of the unit's files.
        max_batch: frames at once.

    Raises:
        BundleError: the bundle does not hold the unit in that precision.
    """
    file = bundle.file(unit, precision)
    words = ["trtexec", f"--onnx={file}", "--stronglyTyped", "--noTF32"]
    if unit.dynamic_batch:
        for name, batch in (("min", 1), ("opt", max_batch), ("max", max_batch)):
            shape = "x".join(str(n) for n in (batch, *unit.input.shape[1:]))
            words.append(f"--{name}Shapes={unit.input.name}:{shape}")
    words.append(f"--builderOptimizationLevel={DEFAULTS.optimization_level}")
    words.append(f"--memPoolSize=workspace:{DEFAULTS.workspace_bytes >> 20}")  # MiB
    words += [f"--saveEngine={file.stem}.engine", "--skipInference"]
    return shlex.join(words)
