"""What a profile tells of the device while it was measured: power mode, power, clocks, temperatures, energy.

Formats grow: a reading that this page has no words for is shown under the name of its field.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jetson.profiling.profile import Conditions, LatencyProfile
from toolkit.report.formats import NOT_MEASURED, is_number, significant

WORDS = {
    "temperature_c": "Temperature",
    "cpu_temperature_c": "Processor temperature",
    "gpu_temperature_c": "GPU temperature",
    "cpu_mhz": "Processor clock",
    "gpu_mhz": "GPU clock",
    "memory_mhz": "Memory clock",
    "emc_mhz": "Memory clock",
    "power_w": "Power",
    "load": "Load",
}
UNITS = {"_c": " °C", "_mhz": " MHz", "_w": " W", "_mw": " mW", "_v": " V", "_percent": "%"}


def reading_name(key: str) -> str:
    """A field as words."""
    return WORDS.get(key) or _stem(key).replace("_", " ").capitalize()


def reading(key: str, value: Any) -> str:
    """A value with the unit that its field's name ends in; never 0 for what is not known."""
    if value is None:
        return NOT_MEASURED
    unit = next((u for end, u in UNITS.items() if key.endswith(end)), "")
    return f"{value:,.4g}{unit}" if is_number(value) else str(value)


def conditions(moment: Conditions) -> list[tuple[str, Any]]:
    """Everything that was read at one moment, by field."""
    return list(msgspec.structs.asdict(moment).items())


def from_to(profile: LatencyProfile, key: str) -> str:
    """A reading at the start and at the end."""
    start, end = (dict(conditions(c)).get(key) for c in (profile.start, profile.end))
    if start is None and end is None:
        return NOT_MEASURED
    first, last = reading(key, start), reading(key, end)
    return first if first == last else f"{first} → {last}"


def power(profile: LatencyProfile) -> str:
    """Watts of the whole board."""
    return NOT_MEASURED if profile.power_w is None else f"{significant(profile.power_w)} W"


def energy_mj(profile: LatencyProfile, name: str) -> float | None:
    """Of an answer at an exit: what the profile says, else the board's watts over the exit's mean time."""
    found = next(e for e in profile.exits if e.name == name)
    if found.energy_mj is not None:
        return found.energy_mj
    return None if profile.power_w is None else profile.power_w * found.end_to_end_ms.mean


CIRCUMSTANCES = {
    "cold": "the first inference after loading",
    "idle": "after a pause",
    "loaded": "beside other processes",
}


def circumstances(profile: LatencyProfile) -> list[tuple[str, str, dict[str, float]]]:
    """Latency that is not the warm one: name, what it is, and the median by exit; none where none was measured."""
    return [
        (c.name, CIRCUMSTANCES.get(c.name, ""), {e.name: e.end_to_end_ms.median for e in c.exits})
        for c in profile.circumstances
    ]


def _stem(key: str) -> str:
    return next((key.removesuffix(end) for end in UNITS if key.endswith(end)), key)
