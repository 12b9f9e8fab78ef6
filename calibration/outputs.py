"""Every exit's output on held-out frames, computed by the units themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jetson.engines import Engines
from jetson.manifest import Manifest
from jetson.preprocessing import Images, Preprocessor


def collect_outputs(
    manifest: Manifest,
    engines: Engines,
    frames: Images,
    progress: Callable[[], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Run every unit on every frame.

    Args:
        manifest: of the bundle.
        engines: its units, loaded.
        frames: uint8 height x width x channels each.
        progress: called after each frame.

    Returns:
        float32, (frames, exits, outputs).
    """
    index = {u.name: i for i, u in enumerate(manifest.units)}
    branches = [index[e.units[-1]] for e in manifest.exits]
    preprocessor = Preprocessor(manifest.preprocessing)
    found = np.empty((len(frames), len(branches), manifest.outputs), np.float32)
    for row, frame in zip(found, frames, strict=True):
        preprocessor(frame, engines.input[0])
        for unit in range(len(manifest.units)):
            engines.run(unit)
        for k, branch in enumerate(branches):
            row[k] = engines.output(branch)[0]
        if progress is not None:
            progress()
    return found
