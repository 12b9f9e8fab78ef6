"""The sensors on a Jetson's power rails as the kernel shows them: INA3221, three rails each.

Any user may read them. JetPack 5 and later have them under hwmon: a label, volts and amperes for each channel.
JetPack 4 had them under iio, with the power ready. Thor measures its input with another chip, which is not read here.
"""

from __future__ import annotations

from pathlib import Path

from jetson.sysfiles import number, read_text

SUM_CHANNEL = "7"
"""Of an INA3221: the sum of what falls off at its three resistors, no rail."""


def rails_w(sys: Path) -> dict[str, float]:
    """Watts on every rail that has a name.

    Args:
        sys: where /sys is.
    """
    found: dict[str, float] = {}
    for chip in sorted((sys / "class" / "hwmon").glob("hwmon*")):
        if (read_text(chip / "name") or "").startswith("ina"):
            found |= _hwmon(chip)
    for chip in sorted((sys / "bus" / "i2c" / "drivers" / "ina3221x").glob("*/iio:device*")):
        found |= _iio(chip)
    return found


def _hwmon(chip: Path) -> dict[str, float]:
    found = {}
    for file in sorted(chip.glob("in*_label")):
        channel = file.name.removeprefix("in").removesuffix("_label")
        name = read_text(file)
        millivolts, milliamperes = number(chip / f"in{channel}_input"), number(chip / f"curr{channel}_input")
        if name and name != "NC" and channel != SUM_CHANNEL and millivolts is not None and milliamperes is not None:
            found[name] = millivolts * milliamperes / 1e6
    return found


def _iio(chip: Path) -> dict[str, float]:
    found = {}
    for file in sorted(chip.glob("rail_name_*")):
        name, milliwatts = read_text(file), number(chip / f"in_power{file.name.removeprefix('rail_name_')}_input")
        if name and name != "NC" and milliwatts is not None:
            found[name] = milliwatts / 1e3
    return found
