"""Every unit of a bundle in int8, each fitted to what the units before it really give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.int8.graph import quantise, weighted_inputs
from calibration.int8.ranges import range_of
from calibration.int8.session import Floats
from calibration.int8.statistics import collect, run
from jetson.bundle import Bundle
from jetson.errors import DataError
from jetson.manifest import Unit
from jetson.preprocessing import Images, Preprocessor

BATCH = 16
"""Frames that run through a unit at once."""
ASTRAY = 0.5
"""A segment in int8 whose output is farther off than this, as a share of what changes from frame to frame, is no
measure for the units behind it: the gate will send it back, and they would be left with ranges of what never runs."""


@dataclass(frozen=True)
class Quantised:
    """One unit in int8."""

    unit: str
    content: bytes
    """The ONNX graph."""
    ranges: dict[str, float]
    """Largest absolute value of each quantised activation, after the method's clipping."""


def quantise_units(
    bundle: Bundle,
    frames: Images,
    method: str,
    *,
    together: bool = True,
    progress: Callable[[], None] | None = None,
) -> list[Quantised]:
    """Quantise the fp32 graphs of all units that have weights to quantise.

    Args:
        bundle: with its units in fp32.
        frames: uint8 height x width x channels each, that the ranges are taken from.
        method: of `calibration.int8.ranges.METHODS`.
        together: a unit reads what the int8 segment before it gives, unless that is far off; else what the fp32 segment
            gives, so that every unit is fitted as if it were the only one in int8.
        progress: called after each unit.

    Returns:
        One for each unit, in the order of the manifest; a unit without weighted products is left out, and a fused
        branch, which is in its segment's graph.

    Raises:
        DataError: an activation is not a number.
    """
    units = bundle.manifest.units
    found: dict[str, Quantised] = {}
    # A segment's output is kept until the units behind it have read it.
    tokens = _pixels(bundle, frames)
    for segment in bundle.manifest.segments:
        before = _batches(tokens)
        made = _quantise(bundle, segment, before, method)
        tokens = _run(bundle.file(segment).read_bytes(), before, segment.name)
        if made is not None:
            found[segment.name] = made
            if together:
                rounded = _run(made.content, before, segment.name)
                tokens = tokens if _astray(rounded, tokens) else rounded
        if progress is not None:
            progress()
        for branch in units:
            if branch.kind == "branch" and branch.layer == segment.layer and branch.fused is None:
                made = _quantise(bundle, branch, _batches(tokens), method)
                if made is not None:
                    found[branch.name] = made
                if progress is not None:
                    progress()
    return [found[u.name] for u in units if u.name in found]


def _run(content: bytes, batches: list[Floats], segment: str) -> Floats:
    found: Floats = np.concatenate(run(content, batches))
    if not np.isfinite(found).all():
        raise DataError(f"unit {segment} gives values that are no numbers on the calibration frames")
    return found


def _astray(rounded: Floats, exact: Floats) -> bool:
    wrong, changing = (float(np.linalg.norm(values)) for values in (rounded - exact, exact - exact.mean(axis=0)))
    return wrong > ASTRAY * changing


def _quantise(bundle: Bundle, unit: Unit, batches: list[Floats], method: str) -> Quantised | None:
    content = bundle.file(unit).read_bytes()
    if not weighted_inputs(content):
        return None
    histograms = collect(content, unit.name, batches)
    ranges = {name: range_of(histogram, method) for name, histogram in histograms.items()}
    return Quantised(unit.name, quantise(content, ranges, unit.name), ranges)


def _pixels(bundle: Bundle, frames: Images) -> Floats:
    p = bundle.manifest.preprocessing
    found = np.empty((len(frames), p.channels, p.height, p.width), np.float32)
    preprocessor = Preprocessor(p)
    for frame, pixels in zip(frames, found, strict=True):
        preprocessor(frame, pixels)
    return found


def _batches(values: Floats) -> list[Floats]:
    return [values[i : i + BATCH] for i in range(0, len(values), BATCH)]
