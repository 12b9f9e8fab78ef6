"""Parity: what was exported, held against PyTorch in every precision that a conversion gave."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.errors import ParityError
from jetson.manifest import Manifest, Parity, Precision
from toolkit.data.dataset import Part
from toolkit.export.units import Step, without

if TYPE_CHECKING:
    from toolkit.models.checkpoint import Checkpoint


def compare(
    checkpoint: Checkpoint, bundle: Bundle, frames: Part, asked: Sequence[Precision], begin: Step
) -> tuple[Manifest, tuple[str, ...]]:
    """Run frames through PyTorch and through the units.

    Args:
        checkpoint: what was exported.
        bundle: the draft.
        frames: to run.
        asked: precisions that the user named; int8-fp16 asks for fp16.
        begin: told of the progress.

    Returns:
        The manifest with the differences found, less a further precision that strays too far and that nobody asked
        for; and what was left out.

    Raises:
        ParityError: a precision that was asked for strays too far.
    """
    from toolkit.export.parity import TOLERANCES, check_parity

    manifest = bundle.manifest
    images = frames.images

    def worst(precision: Precision) -> list[float]:
        with contextlib.closing(load_engines(bundle, precisions=manifest.nearest(precision))) as engines:
            done = begin(f"parity with PyTorch in {precision}", len(images))
            return check_parity(checkpoint.model, bundle, engines, images, done)

    found = {"fp32": worst("fp32")}
    units, remarks = manifest.units, []
    for precision in manifest.precisions[1:]:
        try:
            found[precision] = worst(precision)
        except ParityError as error:
            if precision in asked or f"int8-{precision}" in asked:
                raise
            units = without(units, precision, bundle.path)
            remarks.append(f"{precision} was left out: {str(error).removesuffix('; nothing was built')}")
    further = [p for p in TOLERANCES if p in found and p != "fp32"]
    exits = tuple(
        msgspec.structs.replace(e, max_difference=found["fp32"][k], differences={p: found[p][k] for p in further})
        for k, e in enumerate(manifest.exits)
    )
    parity = Parity(
        frames=len(images),
        tolerance=TOLERANCES["fp32"],
        split="calibration",
        tolerances={p: TOLERANCES[p] for p in further},
    )
    return msgspec.structs.replace(manifest, units=units, exits=exits, parity=parity), tuple(remarks)
