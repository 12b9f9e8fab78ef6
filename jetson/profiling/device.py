"""What this device is and how it is doing, from files Linux and JetPack keep. What is not told is None."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from jetson.power import nvpmodel
from jetson.profiling.profile import Conditions, Device
from jetson.sysfiles import number, read_text
from jetson.telemetry.reading import Reading, is_measured
from jetson.telemetry.zones import thermal_zones

PROC, SYS, ETC = Path("/proc"), Path("/sys"), Path("/etc")
JETSON_GPUS = {"nvidia,tegra234": "Orin", "nvidia,tegra264": "NVIDIA Thor"}
"""A Jetson's system-on-chip, as its device tree has it, and what CUDA calls the GPU in it."""


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_device() -> Device:
    """The fingerprint that a profile carries."""
    return Device(
        machine=platform.machine(),
        processor=processor_name(read_text(PROC / "cpuinfo") or "") or platform.processor() or platform.machine(),
        cores=available_cores(),
        board=read_text(PROC / "device-tree" / "model"),
        jetpack=l4t_release(read_text(ETC / "nv_tegra_release") or ""),
        gpu=gpu_name(PROC),
        power_mode=nvpmodel.current(),
    )


def conditions(reading: Reading | None = None) -> Conditions:
    """Temperature, clocks, load and power at this moment.

    Args:
        reading: of the board's own telemetry, taken just now; None where there is none.
    """
    clock_khz = number(SYS / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    told = reading.hottest_c if reading is not None else None
    return Conditions(
        temperature_c=hottest_c(SYS) if told is None else told,
        cpu_mhz=clock_khz / 1000 if clock_khz else _cpuinfo_mhz(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        gpu_mhz=reading.gpu_mhz if reading is not None else None,
        power_w=reading.power_w if reading is not None else None,
    )


def l4t_release(line: str) -> str | None:
    """`R36.4.3` from the first line of /etc/nv_tegra_release, e.g. `# R36 (release), REVISION: 4.3, GCID: ...`."""
    found = re.search(r"R(\d{1,4}) \(release\), REVISION: (\d{1,4}(?:\.\d{1,4}){0,3})", line)
    return f"R{found[1]}.{found[2]}" if found else None


def hottest_c(sys: Path) -> float | None:
    """The hottest thermal zone, degrees Celsius; zones that are off or made up do not count.

    Args:
        sys: where /sys is.
    """
    known = [c for name, c in thermal_zones(sys).items() if is_measured(name, c)]
    return max(known) if known else None


def gpu_name(proc: Path) -> str | None:
    """The GPU's name as NVIDIA's driver or the device tree tells it, without touching CUDA.

    A card in a slot comes first (the lowest bus address of several), then the GPU in a Jetson's own chip.

    Args:
        proc: where /proc is.
    """
    for file in sorted((proc / "driver" / "nvidia" / "gpus").glob("*/information"), key=_bus_address):
        found = re.search(r"^Model:(.*)$", read_text(file) or "", re.MULTILINE)
        name = found[1].strip() if found else ""
        if name.lower() not in ("", "unknown", "???"):
            return name
    chips = (read_text(proc / "device-tree" / "compatible") or "").split("\0")
    return next((JETSON_GPUS[c] for c in chips if c in JETSON_GPUS), None)


def _bus_address(information: Path) -> tuple[list[int], str]:
    """`0000:0a:00.0` as numbers; a domain may be written with four digits or eight."""
    name = information.parent.name
    return [int(part, 16) for part in re.findall(r"[0-9a-fA-F]+", name)], name


def processor_name(cpuinfo: str) -> str | None:
    """The processor from what /proc/cpuinfo says: its model, on ARM who made its cores and which they are."""
    names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if names:
        return str(names[0]).strip()
    maker, cores = "", set()
    for key, value in re.findall(r"^CPU (implementer|part)[ \t]*:[ \t]*(\S+)", cpuinfo, re.MULTILINE):
        if key == "implementer":
            maker = value
        elif maker:
            cores.add(f"{maker}/{value}")
    return "ARM " + ", ".join(sorted(cores)) if cores else None


def _cpuinfo_mhz() -> float | None:
    found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", read_text(PROC / "cpuinfo") or "", re.MULTILINE)
    return float(found[0]) if found else None
