"""What the cut costs: chained units against the whole model, and the runtime against the bare sum of its units.

Both in ONNX Runtime, in one process, with the shared thread pool and arena that the engines use.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.models import cut_bundle, random_model, whole_bundle
from benchmarks.paired import Ratio, compare
from jetson.engines import load_engines
from jetson.runtime import Runtime
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import StaticExit
from toolkit.models.config import ExitConfig

DEPTH = 12


def run(size: str, image: int, patch: int, cuts: int, threads: int, pairs: int) -> list[Ratio]:
    """Compare one model cut into `cuts` segments."""
    step = DEPTH // cuts
    exits = tuple(ExitConfig(layer=layer, architecture="mlp") for layer in range(step, DEPTH, step))
    model = random_model(size, image, patch, exits)
    name = f"ViT-{size} {image}px, {cuts} cuts, {threads} threads"
    with tempfile.TemporaryDirectory() as folder:
        bundle = cut_bundle(model, Path(folder, "cut"))
        parts = load_engines(bundle, threads=threads)
        whole = load_engines(whole_bundle(model, Path(folder, "whole")), threads=threads)
        paths = Paths.of(bundle.manifest)
        path = [*paths.segments, paths.branches[-1]]
        runtime = Runtime(bundle, parts, StaticExit(paths, len(paths.branches) - 1))
        rng = np.random.default_rng(0)
        frame = rng.integers(0, 256, (image, image, 3), dtype=np.uint8)
        parts.input[...] = whole.input[...] = runtime.preprocessor(frame)[None]

        def chain() -> None:
            for unit in path:
                parts.run(unit)

        whole.run(0)
        chain()
        difference = float(np.abs(whole.output(0) - parts.output(path[-1])).max())
        print(f"{name}: largest difference between whole and chain {difference:.2g}", flush=True)
        return [
            compare(f"{name}: chain / whole", chain, lambda: whole.run(0), pairs),
            compare(f"{name}: infer / chain", lambda: runtime.infer(frame), chain, pairs),
        ]
