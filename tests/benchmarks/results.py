"""Made-up results in the form that `python -m benchmarks.paper` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

BRANCHES = ("mlp", "cnn-add", "vit:hidden=96")


def made_up(
    seed: int = 0,
    task: str = "classification",
    layers: tuple[int, ...] = (1, 2, 3),
    depth: int = 4,
    seeds: tuple[int, ...] = (0, 1, 2),
    branches: tuple[str, ...] = BRANCHES,
) -> dict[str, Any]:
    """Better with depth, dearer from branch to branch, and noise on everything."""
    rng = np.random.default_rng(seed)
    names = [b.partition(":")[0] for b in branches]
    exits = [(layer, index, name) for layer in layers for index, name in enumerate(names)]

    def worth(layer: int, index: int) -> float:
        value = 0.3 + 0.5 * layer / depth + 0.03 * index + 0.02 * rng.normal()
        return float(value if task == "classification" else 3 - 2 * value)

    runs = [
        {"exit": f"{layer}:{name}", "layer": layer, "architecture": name, "seed": s, "seconds": 1.0, "parameters": 9}
        | {"calibration": worth(layer, index), "test": worth(layer, index)}
        for s in seeds
        for layer, index, name in [*exits, (depth, 1, "head")]
    ]
    ends = [*layers, depth]
    units = {f"segment-{n}": _unit(rng, 1.0, 50_000_000) for n in range(1, len(ends) + 1)}
    units |= {f"branch-{a}-{name}": _unit(rng, 0.1 + 0.3 * index, 1_000_000) for a, index, name in exits}
    units["head"] = _unit(rng, 0.05, 10_000)
    return {
        "settings": {"image_size": 56, "limit": None, "branches": list(branches), "layers": list(layers)}
        | {"seeds": list(seeds), "epochs": 4, "latency_seconds": 120.0, "threads": 1},
        "data": {"name": "cifar10", "train": 900, "calibration": 100, "test": 1200},
        "backbone": "0" * 64,
        "task": task,
        "mean_error": None if task == "classification" else 2.25,
        "machine": {"processor": "abacus", "torch": "0"},
        "recipe": {"epochs": 4},
        "runs": runs,
        "probe": {str(end): {"calibration": 0.4, "test": worth(end, 0), "strength": 0.1} for end in ends},
        "latency": {
            "units": units,
            "boundary_ms": 0.07,
            "chain_over_whole": [1.0, 1.02, 1.04],
            "whole_ms": 3.9,
            "preprocess_ms": 0.11,
            "rounds": 1234,
            "threads": 1,
        },
    }


def _unit(rng: np.random.Generator, ms: float, flops: int) -> dict[str, float]:
    ms = float(ms * (1 + 0.1 * rng.random()))
    return {"ms": ms, "p95_ms": 1.2 * ms, "parameters": 1000 + flops // 1000, "flops": flops}


def write(folder: Path, name: str, results: dict[str, Any]) -> Path:
    """The file NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps(results))
    return file
