"""What every branch and every layer costs in ONNX Runtime: one bundle of all of them, measured interleaved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.models import cut_bundle, whole_bundle
from benchmarks.paired import compare
from jetson.bundle import MANIFEST, Bundle
from jetson.engines import load_engines
from jetson.errors import BundleError
from jetson.files import new_folder, write_file
from jetson.profiling.measure import Progress, measure
from toolkit.models.multi_exit import MultiExitModel

PAIRS = 200


def exported(model: MultiExitModel, folder: Path, make: Callable[[MultiExitModel, Path], Bundle]) -> Bundle:
    """The bundle in `folder`, made unless it is there: exporting ninety units takes minutes."""
    try:
        return Bundle.open(folder)
    except BundleError:
        with new_folder(folder) as fresh:
            manifest = make(model, fresh).manifest
            write_file(fresh / MANIFEST, msgspec.json.encode(manifest))
        return Bundle(folder, manifest)


def latencies(
    model: MultiExitModel, threads: int, seconds: float, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Export every unit and measure it.

    Args:
        model: with every branch after every layer; its weights do not matter.
        threads: of ONNX Runtime.
        seconds: of measuring; at least 20 rounds are made.
        folder: for the exported units, of this model alone; what lies there already is used.
        progress: told the share done.

    Returns:
        `units`: by name `ms` (median, p95 in the engine), `parameters`, `flops`; `boundary_ms`: what one of the cuts
        costs, from the chain of all segments against the whole model in one engine, paired; `preprocess_ms`; `rounds`.
    """
    bundle = exported(model, folder / "parts", cut_bundle)
    monolith = exported(model, folder / "whole", whole_bundle)
    profile = measure(bundle, threads=threads, rounds=10_000, seconds=seconds, warm_up=3, progress=progress)
    parts, whole = load_engines(bundle, threads=threads), load_engines(monolith, threads=threads)
    path = [i for i, u in enumerate(bundle.manifest.units) if u.kind == "segment" or u.name == "head"]
    pixels = np.random.default_rng(0).normal(size=parts.input.shape)
    parts.input[...] = whole.input[...] = pixels
    ratio = compare("chain / whole", lambda: parts.run_path(path), lambda: whole.run(0), PAIRS)
    cuts = len(path) - 1
    units = {
        u.name: {
            "ms": profile.units[u.name].host_ms.median,
            "p95_ms": float(profile.units[u.name].host_ms.quantile(0.95)),
            "parameters": u.parameters,
            "flops": u.flops,
        }
        for u in bundle.manifest.units
    }
    return {
        "units": units,
        "boundary_ms": max(0.0, (ratio.ratio - 1) * ratio.base_ms / cuts),
        "chain_over_whole": [ratio.low, ratio.ratio, ratio.high],
        "whole_ms": ratio.base_ms,
        "preprocess_ms": profile.preprocess_ms.median,
        "rounds": profile.frames // (len(profile.exits) + 1),
        "threads": threads,
    }
