"""Hold the exported units against PyTorch: chained, on real images, within a stated tolerance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from jetson.bundle import Bundle
from jetson.engines import Engines
from jetson.errors import ParityError
from jetson.manifest import Precision
from jetson.preprocessing import Images, Preprocessor
from toolkit.models.multi_exit import MultiExitModel

TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2}
"""Largest absolute difference by precision, scaled up where PyTorch's own values exceed 1."""
CHUNK = 10
"""Frames that PyTorch answers in one batch: the two thread pools then seldom fight for the cores."""

LITTLE_FLOPS = 1e10
"""Below this one thread answers a chunk: on busy cores, waiting for a second one takes longer than the work."""


@dataclass(frozen=True)
class Reference:
    """What PyTorch computes for one frame: its pixels and, per unit, the output."""

    pixels: np.ndarray
    outputs: list[np.ndarray]


def check_parity(
    model: MultiExitModel,
    bundle: Bundle,
    engines: Engines,
    frames: Images,
    progress: Callable[[], None] | None = None,
) -> list[float]:
    """Run every frame through the chained units and through PyTorch.

    Args:
        model: the PyTorch model, in eval mode.
        bundle: the units just exported.
        engines: those units, loaded.
        frames: real images, uint8 height x width x channels.
        progress: called after each frame.

    Returns:
        For each exit the largest absolute difference of its outputs over all frames.

    Raises:
        ParityError: a unit differs by more than `TOLERANCES` allow; the message names the first one that does.
    """
    tolerance = max(TOLERANCES[p] for p in engines.precisions)
    units = bundle.manifest.units
    worst = dict.fromkeys((u.name for u in units), 0.0)
    preprocessor = Preprocessor(bundle.manifest.preprocessing)
    for start in range(0, len(frames), CHUNK):
        chunk = [frames[i] for i in range(start, min(start + CHUNK, len(frames)))]
        for number, reference in enumerate(_references(model, bundle, preprocessor, chunk), start=start):
            np.copyto(engines.input, reference.pixels)
            for unit, expected in enumerate(reference.outputs):
                engines.run(unit)
                difference = _difference(engines.output(unit), expected)
                if not difference <= _allowed(expected, tolerance):
                    culprit = _culprit(bundle, engines, reference, unit, tolerance)
                    raise ParityError(
                        f"unit {culprit} does not compute what PyTorch computes: on parity image {number} it differs "
                        f"in {engines.precisions[unit]} by {difference:.3g}, allowed is "
                        f"{_allowed(expected, tolerance):.3g}; nothing was built"
                    )
                worst[units[unit].name] = max(worst[units[unit].name], difference)
            if progress is not None:
                progress()
    return [worst[e.units[-1]] for e in bundle.manifest.exits]


def _references(
    model: MultiExitModel, bundle: Bundle, preprocessor: Preprocessor, frames: Sequence[np.ndarray]
) -> list[Reference]:
    manifest = bundle.manifest
    pixels = np.stack([preprocessor(frame) for frame in frames])
    little = len(frames) * sum(u.flops for u in manifest.units) < LITTLE_FLOPS
    with torch.inference_mode(), _torch_threads(1 if little else torch.get_num_threads()):
        layers = [s.layer for s in manifest.segments]
        tokens = model.tokens(torch.from_numpy(pixels), layers)
        answers = [a.numpy() for a in model.answers([tokens[layers.index(layer)] for layer in model.cuts])]
    outputs = {e.units[-1]: a for e, a in zip(manifest.exits, answers, strict=True)}
    outputs |= {s.name: t.numpy() for s, t in zip(manifest.segments, tokens, strict=True)}
    return [
        Reference(pixels[i : i + 1], [outputs[u.name][i : i + 1] for u in manifest.units]) for i in range(len(frames))
    ]


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _culprit(bundle: Bundle, engines: Engines, reference: Reference, seen: int, tolerance: float) -> str:
    """The first unit that is wrong when fed with PyTorch's own tokens; the one seen when the error only adds up."""
    units = bundle.manifest.units
    np.copyto(engines.input, reference.pixels)
    before: int | None = None
    for unit in range(seen + 1):
        if before is not None:
            np.copyto(engines.output(before), reference.outputs[before])
        engines.run(unit)
        expected = reference.outputs[unit]
        if not _difference(engines.output(unit), expected) <= _allowed(expected, tolerance):
            return units[unit].name
        before = unit if units[unit].kind == "segment" else before
    return units[seen].name


def _allowed(expected: np.ndarray, tolerance: float) -> float:
    return tolerance * max(1.0, float(np.abs(expected).max()))


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float64) - expected).max())
