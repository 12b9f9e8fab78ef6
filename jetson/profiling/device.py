"""What this device is and how it is doing, from files Linux and JetPack keep. What is not told is None."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from jetson.profiling.profile import Conditions, Device

PROC, SYS, ETC = Path("/proc"), Path("/sys"), Path("/etc")


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_device() -> Device:
    """The fingerprint that a profile carries."""
    return Device(
        machine=platform.machine(),
        processor=_processor(),
        cores=available_cores(),
        board=_text(PROC / "device-tree" / "model"),
        jetpack=l4t_release(_text(ETC / "nv_tegra_release") or ""),
        gpu=None,
        power_mode=_power_mode(),
    )


def conditions() -> Conditions:
    """Temperature, clock and load at this moment."""
    zones = [_number(f) for f in sorted((SYS / "class" / "thermal").glob("thermal_zone*/temp"))]
    known = [z / 1000 for z in zones if z is not None and -40_000 < z < 150_000]
    clock_khz = _number(SYS / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return Conditions(
        temperature_c=max(known) if known else None,
        cpu_mhz=clock_khz / 1000 if clock_khz else _cpuinfo_mhz(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def l4t_release(line: str) -> str | None:
    """`R36.4.3` from the first line of /etc/nv_tegra_release, e.g. `# R36 (release), REVISION: 4.3, GCID: ...`."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", line)
    return f"R{found[1]}.{found[2]}" if found else None


def power_mode(text: str) -> str | None:
    """The mode's name from what `nvpmodel -q` prints, e.g. `NV Power Mode: MAXN_SUPER`."""
    found = re.search(r"NV Power Mode:\s*(\S+)", text)
    return found[1] if found else None


def _power_mode() -> str | None:
    if not shutil.which("nvpmodel"):
        return None
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return power_mode(done.stdout)


def _processor() -> str:
    text = _text(PROC / "cpuinfo") or ""
    names = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if names:
        return str(names[0]).strip()
    parts = sorted(
        {f"{a}/{b}" for a, b in re.findall(r"CPU implementer\s*:\s*(\S+)[\s\S]*?CPU part\s*:\s*(\S+)", text)}
    )
    return "ARM " + ", ".join(parts) if parts else platform.processor() or platform.machine()


def _cpuinfo_mhz() -> float | None:
    found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", _text(PROC / "cpuinfo") or "", re.MULTILINE)
    return float(found[0]) if found else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip("\x00\n ") or None
    except OSError:
        return None


def _number(file: Path) -> float | None:
    text = _text(file)
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
