"""What units take in energy, as far as the board's own sensors tell."""

from __future__ import annotations

import math

from jetson.record import Record


class UnitEnergy(Record, frozen=True, kw_only=True):
    """One unit, run over and over while the sensors were read."""

    mj: float
    """Of one run, millijoules: the power meanwhile, times the time from run to run."""
    above_idle_mj: float
    """The same without what the board would have drawn at rest in that time."""
    power_w: float
    """Mean while it ran."""
    run_ms: float
    """From run to run."""
    runs: int
    readings: int
    """Of the sensors, in that time."""


class Energy(Record, frozen=True, kw_only=True):
    """Energy of every unit, on the rails that the sensors see."""

    source: str
    """`jtop`, `tegrastats`, or `ina3221` for the sensors themselves."""
    rails: tuple[str, ...]
    """Whose power was added: as much of the board as its own sensors see."""
    idle_w: float
    """Of the same rails at rest, the engines loaded."""
    idle_readings: int
    units: dict[str, UnitEnergy]

    @property
    def power_w(self) -> float:
        """Mean power while units run, each of them as long as it takes."""
        energy, time = (sum(getattr(u, key) for u in self.units.values()) for key in ("mj", "run_ms"))
        return float(energy / time)

    def possible(self, most_w: float) -> bool:
        """Whether these are figures of a device that draws no more than that."""
        units = self.units.values()
        figures = [u.power_w for u in units] + [u.mj / u.run_ms if u.run_ms > 0.0 else math.nan for u in units]
        return bool(self.units) and 0.0 <= self.idle_w <= most_w and all(0.0 < w <= most_w for w in figures)
