"""`python -m benchmarks.int8 BUNDLE --data SPEC`: what int8 costs and brings, method by method, without the gate.

Every method of `offramp build --int8-method`, with each unit fitted to the int8 units before it and, for comparison,
fitted alone; and beside them the naive way: every operator quantised, one scale a tensor, ranges by min-max. Ranges
come from the `fit` images, figures from the `test` images, all in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.paired import compare
from calibration.int8.chain import BATCH, quantise_units
from calibration.int8.ranges import METHODS
from calibration.int8.statistics import run
from calibration.outputs import collect_outputs
from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.files import write_file
from jetson.preprocessing import Images, Preprocessor
from toolkit import data as data_sets
from toolkit.data.roles import roles
from toolkit.quantise import METHOD, with_int8

NAIVE = "every operator"
PAIRS = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", required=True, help="what the bundle was made with, as for offramp build")
    parser.add_argument("--frames", type=int, default=256, help="that the ranges are taken from")
    parser.add_argument("--test-frames", type=int, default=2000, help="at most so many judge")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args()
    bundle, parts = Bundle.open(options.bundle), roles(data_sets.load(options.data))
    fit, test = parts["fit"].head(options.frames), parts["test"].head(options.test_frames)
    cases: dict[str, Any] = {f"{m}, together": (m, True) for m in METHODS} | {f"{METHOD}, alone": (METHOD, False)}
    with contextlib.closing(load_engines(bundle, threads=options.threads)) as engines:
        reference = collect_outputs(bundle.manifest, engines, test.images)
    found = {"fp32": {"quality": _quality(bundle, reference, test.targets), "size": 1.0}}
    print(f"fp32: {found['fp32']['quality']}", flush=True)
    for case in [*cases, NAIVE]:
        with tempfile.TemporaryDirectory() as folder:
            if case == NAIVE:
                contents = dict(naive_units(bundle, fit.images, Path(folder)))
            else:
                method, together = cases[case]
                made = quantise_units(bundle, fit.images, method, together=together)
                contents = {q.unit: q.content for q in made}
            found[case] = _judge(bundle, contents, Path(folder, "bundle"), test, reference, options.threads)
        print(f"{case}: {found[case]}", flush=True)
    results = {
        "settings": {"frames": len(fit), "test_frames": len(test), "threads": options.threads},
        "data": parts["test"].sha256,
        "task": bundle.manifest.task,
        "exits": [e.name for e in bundle.manifest.exits],
        "machine": platform.machine(),
        "cases": found,
    }
    write_file(options.out, json.dumps(results, indent=1) + "\n")
    print(f"-> {options.out}")


def _judge(
    bundle: Bundle, contents: dict[str, bytes], folder: Path, test: Any, reference: np.ndarray, threads: int
) -> dict[str, Any]:
    shutil.copytree(bundle.path, folder)
    made = with_int8(Bundle(folder, bundle.manifest), contents)
    precisions = made.manifest.nearest("int8")
    units = [u for u in made.manifest.units if u.name in contents]
    path = [i for i, u in enumerate(made.manifest.units) if u.kind == "segment" or u.name == "head"]
    with contextlib.closing(load_engines(made, threads=threads, precisions=precisions)) as ours:
        outputs = collect_outputs(made.manifest, ours, test.images)
        with contextlib.closing(load_engines(bundle, threads=threads)) as base:
            ratio = compare("int8 / fp32", lambda: ours.run_path(path), lambda: base.run_path(path), PAIRS)
    changed = np.square(outputs.astype(np.float64) - reference).mean(axis=(0, 2)) / reference.var(axis=(0, 2))
    return {
        "quality": _quality(bundle, outputs, test.targets),
        "size": sum(u.at("int8").size_bytes for u in units) / sum(u.size_bytes for u in units),
        "output_noise": [float(v) for v in changed],
        "time": [ratio.low, ratio.ratio, ratio.high],
    }


def _quality(bundle: Bundle, outputs: np.ndarray, targets: Any) -> list[float]:
    if bundle.manifest.task == "classification":
        return [float(v) for v in (outputs.argmax(axis=2) == targets[:, None]).mean(axis=0)]
    return [float(v) for v in np.abs(outputs - targets[:, None]).mean(axis=(0, 2))]


def naive_units(bundle: Bundle, frames: Images, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every unit by onnxruntime's quantiser as it comes: all operators, one scale a tensor, fitted alone."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    p = bundle.manifest.preprocessing
    tokens = np.empty((len(frames), p.channels, p.height, p.width), np.float32)
    preprocessor = Preprocessor(p)
    for frame, pixels in zip(frames, tokens, strict=True):
        preprocessor(frame, pixels)
    for segment in bundle.manifest.segments:
        here = [u for u in bundle.manifest.units if u.kind == "branch" and u.layer == segment.layer]
        after = np.concatenate(run(bundle.file(segment).read_bytes(), _batches(tokens)))
        for unit, values in [(segment, tokens), *((u, after) for u in here)]:
            file = folder / f"{unit.name}.onnx"
            quantize_static(
                bundle.file(unit),
                file,
                _Reader(unit.input.name, values),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                per_channel=False,
            )
            yield unit.name, file.read_bytes()
        tokens = after


def _batches(values: np.ndarray) -> list[np.ndarray]:
    return [values[i : i + BATCH] for i in range(0, len(values), BATCH)]


class _Reader:
    """Feeds onnxruntime's calibrator one frame at a time."""

    def __init__(self, name: str, values: np.ndarray) -> None:
        self._name, self._rest = name, iter(values)

    def get_next(self) -> dict[str, np.ndarray] | None:
        value = next(self._rest, None)
        return None if value is None else {self._name: value[None]}


if __name__ == "__main__":
    one_line(main)
