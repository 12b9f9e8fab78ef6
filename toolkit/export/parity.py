"""Hold the exported units against PyTorch: chained, on real images, within a stated tolerance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from jetson.bundle import Bundle
from jetson.engines import Engines
from jetson.errors import ParityError
from jetson.preprocessing import Preprocessor
from toolkit.models.multi_exit import MultiExitModel

TOLERANCE = 1e-4
"""Largest absolute difference in FP32, scaled up where PyTorch's own values exceed 1."""


def check_parity(
    model: MultiExitModel,
    bundle: Bundle,
    engines: Engines,
    frames: Sequence[np.ndarray],
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
        ParityError: a unit differs by more than `TOLERANCE`; the message names the first one that does.
    """
    units = bundle.manifest.units
    index = {u.name: i for i, u in enumerate(units)}
    exit_of = {index[e.units[-1]]: k for k, e in enumerate(bundle.manifest.exits)}
    preprocessor = Preprocessor(bundle.manifest.preprocessing)
    worst = [0.0] * len(bundle.manifest.exits)
    for number, frame in enumerate(frames):
        preprocessor(frame, engines.input[0])
        with torch.inference_mode():
            tokens = model.tokens(torch.from_numpy(engines.input.copy()))
            answers = model.answers(tokens)
        expected_tokens = dict(zip(model.cuts, (t.numpy() for t in tokens), strict=True))
        for unit, record in enumerate(units):
            engines.run(unit)
            expected = answers[exit_of[unit]].numpy() if unit in exit_of else expected_tokens[record.layer]
            difference = _difference(engines.output(unit), expected)
            allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
            if not difference <= allowed:
                culprit = _culprit(bundle, engines, frame, preprocessor, expected_tokens, answers, exit_of, unit)
                raise ParityError(
                    f"unit {culprit} does not compute what PyTorch computes: on parity image {number} it differs by "
                    f"{difference:.3g}, allowed is {allowed:.3g}; nothing was built"
                )
            if unit in exit_of:
                worst[exit_of[unit]] = max(worst[exit_of[unit]], difference)
        if progress is not None:
            progress()
    return worst


def _culprit(
    bundle: Bundle,
    engines: Engines,
    frame: np.ndarray,
    preprocessor: Preprocessor,
    tokens: dict[int, np.ndarray],
    answers: list[torch.Tensor],
    exit_of: dict[int, int],
    seen: int,
) -> str:
    """The first unit that is wrong when fed with PyTorch's own tokens; the one seen when the error only adds up."""
    units = bundle.manifest.units
    preprocessor(frame, engines.input[0])
    before: int | None = None
    for unit, record in enumerate(units[: seen + 1]):
        if before is not None:
            np.copyto(engines.output(before), tokens[units[before].layer])
        engines.run(unit)
        expected = answers[exit_of[unit]].numpy() if unit in exit_of else tokens[record.layer]
        if not _difference(engines.output(unit), expected) <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            return record.name
        before = unit if record.kind == "segment" else before
    return units[seen].name


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float64) - expected).max())
