"""The gate of int8: no exit may lose more quality than was allowed; units that cost too much go back, worst first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from jetson.manifest import FALLBACKS, Kept, Manifest, Precision

TRACED = 256
"""Frames that tell which unit does the damage; the gate itself is held on all."""
INT8: tuple[Precision, ...] = ("int8", "int8-fp16")
"""What a unit may be sent back from. The others are not the gate's: half precision is held against PyTorch."""
Outputs = npt.NDArray[np.float32]
OutputsOf = Callable[[Sequence[Precision], int], Outputs]
"""Every exit's outputs, (frames, exits, outputs), of the units in these precisions on the first so many frames."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gate:
    """What is allowed, and the frames that judge it."""

    manifest: Manifest
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    max_drop: float
    """Of the accuracy in shares; in regression a share of the error."""
    outputs_of: OutputsOf
    _blame: dict[tuple[int, Precision], Array] = field(default_factory=dict)

    def drops(self, reference: Outputs, outputs: Outputs) -> Array:
        """By exit how much is lost, in units of what is allowed: above 1 is too much."""
        before, lost = self._lost(reference, outputs)
        allowed = self.max_drop if self.manifest.task == "classification" else self.max_drop * before
        return np.asarray(lost / np.maximum(allowed, 1e-12), np.float64)

    def _lost(self, reference: Outputs, outputs: Outputs) -> tuple[Array, Array]:
        """By exit the error of the reference and what was lost to it; a tie is no loss, and no gain counts."""
        before = self._errors(reference[: len(outputs)])
        lost = self._errors(outputs) - before
        return before, np.where(lost <= 1e-12, 0.0, lost)

    def _errors(self, outputs: Outputs) -> Array:
        """By exit: share of wrong answers, or the mean absolute error; without end where outputs are no numbers."""
        targets = self.targets[: len(outputs), None]
        if self.manifest.task == "classification":
            errors = (outputs.argmax(axis=2) != targets).mean(axis=0)
        else:
            errors = np.abs(outputs.astype(np.float64) - targets).mean(axis=(0, 2))
        return np.where(np.isfinite(outputs).all(axis=(0, 2)), errors, np.inf)

    def hold(self, wanted: Sequence[Precision], reference: Outputs) -> tuple[list[Precision], Outputs, list[Kept]]:
        """Send units back until no exit loses too much, or none of its units is in int8 any more.

        Args:
            wanted: what each unit is to run in.
            reference: of the units in fp32, on all frames; finite.

        Returns:
            What each unit may run in, every exit's outputs so, and the units that went back with the reason.
        """
        chosen, kept, units = list(wanted), list[Kept](), self.manifest.units
        outputs = self.outputs_of(chosen, len(self.targets))
        while True:
            drops = self.drops(reference, outputs)
            # Just what is allowed is allowed: 5 of 500 answers are a point, but for the last digit of a float.
            failing = np.flatnonzero(drops > 1 + 1e-9)
            suspects = [i for i in self._units_of(failing) if chosen[i] in INT8 and units[i].fused is None]
            if not suspects:
                return chosen, outputs, kept
            for unit in suspects:
                if (unit, chosen[unit]) not in self._blame:
                    self._blame[unit, chosen[unit]] = self._damage(unit, chosen[unit], reference)
            worst = max(suspects, key=lambda u: float(self._blame[u, chosen[u]][failing].sum()))
            reason = f"{self._loss(int(drops.argmax()), reference, outputs)}, and this unit did most of it"
            record = units[worst]
            have = [v.precision for v in record.files]
            back = next(p for p in FALLBACKS[chosen[worst]] if p in have)
            for unit in self._together(worst):
                chosen[unit] = back
            kept.append(Kept(unit=record.name, precision=chosen[worst], reason=reason))
            outputs = self.outputs_of(chosen, len(self.targets))

    def _units_of(self, exits: npt.NDArray[np.int64]) -> list[int]:
        index = {u.name: i for i, u in enumerate(self.manifest.units)}
        return sorted({index[name] for k in exits for name in self.manifest.exits[k].units})

    def _together(self, unit: int) -> list[int]:
        """The unit, and the branches that are fused into it."""
        units = self.manifest.units
        return [i for i, u in enumerate(units) if i == unit or u.fused == units[unit].name]

    def _damage(self, unit: int, precision: Precision, reference: Outputs) -> Array:
        """By exit the mean squared difference of its outputs, in units of their variance, with one unit alone in int8.

        Answers change in a few frames only; outputs change in all of them and tell units apart with fewer frames.
        """
        alone: list[Precision] = [u.precision for u in self.manifest.units]
        for one in self._together(unit):
            alone[one] = precision
        n = min(TRACED, len(self.targets))
        outputs, before = self.outputs_of(alone, n), reference[:n]
        spread = np.maximum(before.astype(np.float64).var(axis=(0, 2)), 1e-12)
        with np.errstate(invalid="ignore"):
            found = np.square(outputs.astype(np.float64) - before).mean(axis=(0, 2)) / spread
        return np.asarray(np.where(np.isfinite(found), found, np.inf), np.float64)

    def _loss(self, exit_: int, reference: Outputs, outputs: Outputs) -> str:
        """What an exit lost, in words."""
        name = self.manifest.exits[exit_].name
        if not np.isfinite(outputs[:, exit_]).all():
            return f"exit {name} gave values that are no numbers"
        before, lost = (values[exit_] for values in self._lost(reference, outputs))
        if self.manifest.task == "classification":
            return f"exit {name} lost {100 * lost:.2f} points of accuracy"
        return f"exit {name} lost {100 * lost / max(before, 1e-12):.1f} % of the error"
