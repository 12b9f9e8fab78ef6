"""jetson-stats: what its `jtop` object tells, in the shapes it has had since version 4.

Its service reads the board as root and lets any user of the group `jtop` ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jetson.telemetry.reading import Reading


def read(board: Any, at: float) -> Reading:
    """Read a `jtop` that has been started.

    Args:
        board: the `jtop` object.
        at: when its service last answered.
    """
    return Reading(
        at=at,
        rails_w=_rails_w(_mapping(board, "power")),
        temperatures_c=_temperatures_c(_mapping(board, "temperature")),
        cpu_mhz=_cpu_mhz(_mapping(board, "cpu")),
        gpu_mhz=_gpu_mhz(getattr(board, "gpu", None)),
    )


def _rails_w(power: Mapping[str, Any]) -> dict[str, float]:
    """All rails. The total is one of them when it has a name: then it is a sensor, else the sum of all.

    That sum counts what hangs behind another rail twice, and so it is not taken.
    """
    rails = dict(power.get("rail") or {})
    total = power.get("tot") or {}
    if isinstance(total, Mapping) and total.get("name"):
        rails[str(total["name"])] = total
    found = {name: _number(rail, "power") for name, rail in rails.items() if _online(rail)}
    return {name: mw / 1e3 for name, mw in found.items() if mw is not None}


def _temperatures_c(zones: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(zone, "temp") for name, zone in zones.items() if _online(zone)}
    return {name: celsius for name, celsius in found.items() if celsius is not None}


def _cpu_mhz(cpu: Mapping[str, Any]) -> tuple[float, ...]:
    cores = [core for core in cpu.get("cpu") or [] if _online(core)]
    khz = [_number(core.get("freq"), "cur") for core in cores if isinstance(core, Mapping)]
    return tuple(k / 1e3 for k in khz if k)


def _gpu_mhz(gpus: Any) -> float | None:
    """Of its `GPU`, which has a dict's methods and is none."""
    found = gpus.values() if hasattr(gpus, "values") else ()
    khz = [_number(gpu.get("freq"), "cur") for gpu in found if isinstance(gpu, Mapping)]
    return max((k / 1e3 for k in khz if k), default=None)


def _mapping(board: Any, name: str) -> Mapping[str, Any]:
    found = getattr(board, name, None)
    return found if isinstance(found, Mapping) else {}


def _online(part: Any) -> bool:
    return isinstance(part, Mapping) and bool(part.get("online", True))


def _number(part: Any, key: str) -> float | None:
    value = part.get(key) if isinstance(part, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
