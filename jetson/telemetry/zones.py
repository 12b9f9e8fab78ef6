"""Thermal zones as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

from jetson.sysfiles import number, read_text


def thermal_zones(sys: Path) -> dict[str, float]:
    """Degrees Celsius by what a zone calls itself; where that is nothing or the name of another, by its folder.

    Args:
        sys: where /sys is.
    """
    found: dict[str, float] = {}
    for folder in sorted((sys / "class" / "thermal").glob("thermal_zone*")):
        millidegrees = number(folder / "temp")
        if millidegrees is not None:
            found[_name(folder, found)] = millidegrees / 1e3
    return found


def _name(folder: Path, taken: dict[str, float]) -> str:
    name = read_text(folder / "type") or folder.name
    return folder.name if name in taken else name
