"""What this device is and how it is doing, from files Linux and JetPack keep. What is not told is None."""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import subprocess
from pathlib import Path

from jetson.profiling.profile import Conditions, Device

PROC, SYS, ETC = Path("/proc"), Path("/sys"), Path("/etc")
FILE_BYTES = 1 << 20
"""Of a file that are read; what is looked for stands in its first lines."""
JETSON_GPUS = {"nvidia,tegra234": "Orin", "nvidia,tegra264": "NVIDIA Thor"}
"""A Jetson's system-on-chip, as its device tree has it, and what CUDA calls the GPU in it."""


def read_text(file: Path) -> str | None:
    """What a regular file says at its beginning, without the NUL that the device tree ends its strings with.

    None for a file that says nothing or cannot be read, and for anything else: a pipe would let us wait for ever.
    """
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        content = b""
        if stat.S_ISREG(os.fstat(handle).st_mode):
            while len(content) < FILE_BYTES and (chunk := os.read(handle, FILE_BYTES)):  # /proc gives a page at a time
                content += chunk
        return content.decode(errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None
    finally:
        os.close(handle)


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
        power_mode=_power_mode(),
    )


def conditions() -> Conditions:
    """Temperature, clock and load at this moment."""
    clock_khz = _number(SYS / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return Conditions(
        temperature_c=hottest_c(SYS),
        cpu_mhz=clock_khz / 1000 if clock_khz else _cpuinfo_mhz(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def l4t_release(line: str) -> str | None:
    """`R36.4.3` from the first line of /etc/nv_tegra_release, e.g. `# R36 (release), REVISION: 4.3, GCID: ...`."""
    found = re.search(r"R(\d{1,4}) \(release\), REVISION: (\d{1,4}(?:\.\d{1,4}){0,3})", line)
    return f"R{found[1]}.{found[2]}" if found else None


def power_mode(text: str) -> str | None:
    """The mode's name from what `nvpmodel -q` prints, e.g. `NV Power Mode: MAXN_SUPER`."""
    found = re.search(r"NV Power Mode:\s*(\S+)", text)
    return found[1] if found else None


def hottest_c(sys: Path) -> float | None:
    """The hottest thermal zone, degrees Celsius; zones that are off tell nonsense and do not count.

    Args:
        sys: where /sys is.
    """
    zones = [_number(f) for f in sorted((sys / "class" / "thermal").glob("thermal_zone*/temp"))]
    known = [z / 1000 for z in zones if z is not None and -40_000 < z < 150_000]
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


def _power_mode() -> str | None:
    if not shutil.which("nvpmodel"):
        return None
    try:
        done = subprocess.run(
            ["nvpmodel", "-q"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return power_mode(done.stdout)


def _cpuinfo_mhz() -> float | None:
    found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", read_text(PROC / "cpuinfo") or "", re.MULTILINE)
    return float(found[0]) if found else None


def _number(file: Path) -> float | None:
    text = read_text(file)
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
