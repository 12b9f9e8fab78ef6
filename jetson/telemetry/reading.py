"""A reading of a board's sensors, and which of its power rails together are what the board draws."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

CHIP_OFF_C = -40.0
"""Below that, a sensor stands in a part that is switched off: it says -256."""
MADE_UP = ("pmic", "pmic-die")
"""Zones that always tell the same 50 or 100 degrees, whatever the temperature is."""
WHOLE = (
    ("VIN",),
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)
"""Rails that together are the most of the board that its own sensors see, each counted once.

Thor; TX2, Xavier NX, Orin NX and Orin Nano; Nano; AGX Orin, whose VDDQ_VDD2_1V8AO hangs behind one of the others; AGX
Xavier. What the carrier board draws past the module's input is not in the last two.
"""


class Reading(NamedTuple):
    """What one look at the sensors told; what it did not tell is None or not there."""

    at: float
    """On `jetson.scheduling.budget.clock`, seconds: when it was read."""
    rails_w: dict[str, float]
    """Watts at that moment, by the name the board gives a rail."""
    temperatures_c: dict[str, float]
    cpu_mhz: tuple[float, ...] = ()
    """Of every core that is switched on."""
    gpu_mhz: float | None = None
    """None where it is not told, and of a GPU that is switched off."""

    @property
    def hottest_c(self) -> float | None:
        """The hottest place that is measured."""
        found = [c for name, c in self.temperatures_c.items() if is_measured(name, c)]
        return max(found) if found else None

    @property
    def power_w(self) -> float | None:
        """What the board draws, as far as its sensors see; None when its rails are none that we know."""
        rails = whole(self.rails_w)
        return sum(self.rails_w[r] for r in rails) if rails else None


def is_measured(zone: str, celsius: float) -> bool:
    """Whether a zone's figure is a temperature: not of a part that is off, not a constant, not an impossible one."""
    return CHIP_OFF_C < celsius < 150.0 and zone.lower() not in MADE_UP


def whole(rails: Collection[str]) -> tuple[str, ...]:
    """Of these rails, those that together are what the board draws; empty when that cannot be told."""
    return next((group for group in WHOLE if set(group) <= set(rails)), ())
