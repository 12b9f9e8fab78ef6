"""The naive way into int8, to hold the other against: onnxruntime's quantiser as it comes."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from calibration.int8.chain import BATCH
from calibration.int8.statistics import run
from jetson.bundle import Bundle
from jetson.preprocessing import Images, Preprocessor

Array = np.ndarray


def naive_units(bundle: Bundle, frames: Images, folder: Path) -> dict[str, bytes]:
    """Every unit with all operators quantised, one scale a tensor, ranges by min-max, fitted alone.

    It is done in a process of its own: the quantiser opens sessions that ONNX Runtime refuses where one thread pool is
    shared by all, as it is here once engines were loaded.

    Args:
        bundle: with its units in fp32.
        frames: that the ranges are taken from.
        folder: takes what the quantiser writes, a file for each unit.

    Returns:
        By unit its graph.
    """
    p = bundle.manifest.preprocessing
    pixels = np.empty((len(frames), p.channels, p.height, p.width), np.float32)
    preprocessor = Preprocessor(p)
    for frame, target in zip(frames, pixels, strict=True):
        preprocessor(frame, target)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(_quantise_all, bundle, pixels, folder).result()
    return {u.name: _file(folder, u.name).read_bytes() for u in bundle.manifest.units}


def _quantise_all(bundle: Bundle, tokens: Array, folder: Path) -> None:
    logging.disable(logging.WARNING)  # it advises a pass over the graph beforehand, unit by unit
    units = bundle.manifest.units
    for segment in bundle.manifest.segments:
        before = [tokens[i : i + BATCH] for i in range(0, len(tokens), BATCH)]
        after = np.concatenate(run(bundle.file(segment).read_bytes(), before))
        here = [u for u in units if u.kind == "branch" and u.layer == segment.layer]
        for unit, values in [(segment, tokens), *((u, after) for u in here)]:
            _quantise(bundle.file(unit), unit.input.name, values, _file(folder, unit.name))
        tokens = after


def _quantise(source: Path, name: str, values: Array, target: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        source,
        target,
        _Reader(name, values),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=False,
    )


def _file(folder: Path, unit: str) -> Path:
    return folder / f"{unit}.onnx"


class _Reader:
    """Feeds onnxruntime's calibrator one frame at a time."""

    def __init__(self, name: str, values: Array) -> None:
        self._name, self._rest = name, iter(values)

    def get_next(self) -> dict[str, Array] | None:
        value = next(self._rest, None)
        return None if value is None else {self._name: value[None]}
