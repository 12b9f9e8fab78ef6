"""Power mode, clocks and temperature: what decides whether a profile measured today holds tomorrow."""

from __future__ import annotations

import os

from jetson.doctor.check import Finding, State
from jetson.doctor.facts import Checks, Facts
from jetson.doctor.machine import Machine, plain
from jetson.power.nvpmodel import power_mode
from jetson.profiling.device import hottest_c

GPU_CLOCKS = ("gpu-gpc-*", "*.gpu", "*.ga10b", "*.gv11b")
"""What Jetsons call the GPU under /sys/class/devfreq: Thor, Orin, Orin before JetPack 6, Xavier."""
HOT_C = 85.0
"""From here on a board may be about to slow down; Orin and Thor do so in the nineties."""


def _mode(facts: Facts) -> Finding:
    machine = facts.machine
    name, title = "power_mode", "Power mode"
    output = machine.run("nvpmodel", "-q")
    if output is None:
        if machine.jetson:
            mend = "read it outside the container" if machine.container else "sudo apt-get install nvidia-l4t-nvpmodel"
            return _of(name, title, "warning", "nvpmodel is not here to tell it", mend)
        return _of(name, title, "not here", "no nvpmodel, as only Jetsons have it")
    mode = power_mode(output.text)
    if mode:
        return _of(name, title, "ok", plain(mode))
    if output.trouble:
        return _of(name, title, "warning", f"nvpmodel {output.trouble}", "sudo nvpmodel -q")
    if os.geteuid() != 0:
        return _of(name, title, "warning", "nvpmodel does not tell it to a plain user", "sudo nvpmodel -q")
    last = plain(next(reversed(output.text.splitlines()), "nothing"), 80)
    return _of(name, title, "warning", f"nvpmodel does not tell it, it says: {last}")


def _clocks(facts: Facts) -> Finding:
    machine = facts.machine
    name, title = "clocks", "Clocks"
    cpu = _cpu_mhz(machine)
    gpu = _gpu_mhz(machine)
    governors = {machine.text(n) for n in machine.names("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")}
    governor = ", ".join(sorted(plain(g, 20) for g in governors if g))
    parts = [f"CPU {_span(cpu)}" + (f" ({governor})" if governor else "")] if cpu else []
    parts += [f"GPU {_span(gpu)}"] if gpu else []
    if not parts:
        return _of(name, title, "not here", "they are not told")
    if not machine.jetson:
        return _of(name, title, "ok", ", ".join(parts))
    if all(c[0] == c[2] for c in (cpu, gpu) if c):
        return _of(name, title, "ok", ", ".join(parts) + ", fixed as jetson_clocks does")
    mend = "sudo jetson_clocks, for a profile that repeats"
    return _of(name, title, "warning", ", ".join(parts) + ", free to change with the load", mend)


def _temperature(facts: Facts) -> Finding:
    hottest = hottest_c(facts.machine.path("sys"))
    if hottest is None:
        return _of("temperature", "Temperature", "not here", "it is not told")
    found = f"{hottest:.0f} °C at the hottest place"
    if hottest < HOT_C:
        return _of("temperature", "Temperature", "ok", found)
    return _of("temperature", "Temperature", "warning", found, "let it cool, or it slows down")


def _cpu_mhz(machine: Machine) -> tuple[float, float, float] | None:
    """Lowest, present and highest clock that the first core may take."""
    folder = "sys/devices/system/cpu/cpu0/cpufreq/scaling_"
    return _triple([machine.number(folder + n) for n in ("min_freq", "cur_freq", "max_freq")], 1e3)


def _gpu_mhz(machine: Machine) -> tuple[float, float, float] | None:
    for pattern in GPU_CLOCKS:
        for folder in machine.names(f"sys/class/devfreq/{pattern}"):
            found = _triple([machine.number(f"{folder}/{n}") for n in ("min_freq", "cur_freq", "max_freq")], 1e6)
            if found:
                return found
    return None


def _triple(values: list[int | None], scale: float) -> tuple[float, float, float] | None:
    known = [v / scale for v in values if v is not None and v > 0]
    return (known[0], known[1], known[2]) if len(known) == 3 else None


def _span(mhz: tuple[float, float, float]) -> str:
    return f"{mhz[1]:.0f} of {mhz[2]:.0f} MHz"


def _of(name: str, title: str, state: State, found: str, mend: str | None = None) -> Finding:
    return Finding(name=name, group="Power", title=title, state=state, found=found, mend=mend)


CHECKS: Checks = {"power_mode": _mode, "clocks": _clocks, "temperature": _temperature}
