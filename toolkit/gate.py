"""The gate of int8 over a bundle: which units stay as they are, and whether it holds on other images too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Sequence

import msgspec
import numpy as np

from calibration.gate import INT8, Gate
from jetson.bundle import Bundle
from jetson.errors import DataError
from jetson.manifest import Kept, Manifest, Precision, Unit
from toolkit.data.dataset import Part
from toolkit.export.units import Step

REMEMBERED = 4
"""Outputs on all frames that are kept: of a thousand classes they take tens of megabytes each."""


def hold_gate(bundle: Bundle, select: Part, max_drop: float, begin: Step) -> list[Kept]:
    """Find the units that must not be in int8: with the rest in fp32, and with the rest in fp16.

    Args:
        bundle: with its units in int8, and in int8-fp16 where they are there in fp16.
        select: what decides.
        max_drop: what no exit may lose more of.
        begin: told of the progress.

    Raises:
        DataError: nothing tells what is right, or the units in fp32 give values that are no numbers.
    """
    manifest = bundle.manifest
    if select.targets is None:
        raise DataError("the gate of int8 needs to know what is right: the select images have no targets")
    watch = OutputsOf(bundle, select, begin)
    reference = watch([u.precision for u in manifest.units], len(select))
    if not np.isfinite(reference).all():
        raise DataError(
            "some select images are answered with NaN or infinite values in fp32; look for broken images among them, "
            "or for weights that overflow, and mend those first"
        )
    gate = Gate(manifest, select.targets, max_drop, watch)
    kept: dict[str, Kept] = {}
    while True:
        before = len(kept)
        for precision in INT8:
            # A unit that goes back loses both forms, so the other one is held again without it.
            left = msgspec.structs.replace(manifest, units=tuple(without_int8(u, kept) for u in manifest.units))
            if precision in left.offered:
                kept |= {k.unit: k for k in gate.hold(left.nearest(precision), reference)[2]}
        if len(kept) == before:
            return list(kept.values())


def without_int8(unit: Unit, names: Container[str | None]) -> Unit:
    """The unit, less its int8 if it is one of these, or fused into one."""
    if unit.name not in names and unit.fused not in names:
        return unit
    return msgspec.structs.replace(unit, variants=tuple(v for v in unit.variants if v.precision not in INT8))


def still_held(manifest: Manifest) -> tuple[str, ...]:
    """A line for each exit that loses more in int8 than the gate allows, as its quality says now."""
    record = manifest.quantisation
    said = []
    for exit_ in manifest.exits if record is not None else ():
        for precision, (found, *_) in exit_.variant_quality.items():
            believed = exit_.quality[0]
            if manifest.task == "classification":
                lost, word = believed.value - found.value, "of accuracy"
            else:
                lost, word = found.value / max(believed.value, 1e-12) - 1, "of the error"
            if record is not None and lost > record.max_drop + 1e-9:
                said.append(
                    f"exit {exit_.name} loses {lost:.1%} {word} in {precision} on the {believed.split} images, the "
                    f"gate of int8 allowed {record.max_drop:.1%}; hold it again with --precision int8"
                )
    return tuple(said)


class OutputsOf:
    """Every exit's outputs on one part, in any precisions; what was asked of all its frames is remembered a while."""

    def __init__(self, bundle: Bundle, part: Part, begin: Step) -> None:
        self._bundle, self._part, self._begin = bundle, part, begin
        self._found: dict[tuple[Precision, ...], np.ndarray] = {}

    def __call__(self, precisions: Sequence[Precision], n: int) -> np.ndarray:
        """Float32, (n, exits, outputs)."""
        from calibration.outputs import collect_outputs
        from jetson.engines import load_engines

        key = tuple(precisions)
        if key in self._found:
            return self._found[key][:n]
        frames = self._part.head(n)
        told: Callable[[], None] = self._begin(f"the gate of int8: {_told(key)}", len(frames))
        with contextlib.closing(load_engines(self._bundle, precisions=key)) as engines:
            outputs = collect_outputs(self._bundle.manifest, engines, frames.images, told)
        if n == len(self._part):
            if len(self._found) == REMEMBERED:
                del self._found[next(iter(self._found))]
            self._found[key] = outputs
        return outputs


def _told(precisions: Sequence[Precision]) -> str:
    counts = {p: precisions.count(p) for p in dict.fromkeys(precisions)}
    return ", ".join(f"{count} in {precision}" for precision, count in counts.items())
