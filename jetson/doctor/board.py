"""The machine itself: board, processor, JetPack, system, Python."""

from __future__ import annotations

import platform

from jetson.doctor.check import Finding, State
from jetson.doctor.facts import Checks, Facts
from jetson.doctor.jetpack import OLDEST, jetpack_of, major, release_of
from jetson.doctor.machine import plain
from jetson.profiling.device import available_cores, processor_name

ARM_CORES = {"ARM 0x41/0xd42": "Arm Cortex-A78AE", "ARM 0x41/0xd83": "Arm Neoverse-V3AE"}
OLDEST_PYTHON = (3, 10)


def _board(facts: Facts) -> Finding:
    machine = facts.machine
    model = machine.text("proc/device-tree/model")
    dmi = [machine.text(f"sys/class/dmi/id/{n}") for n in ("sys_vendor", "product_name")]
    name = model or " ".join(t for t in dmi if t)
    where = " (in a container)" if machine.container else ""
    return _of("board", "Board", "ok" if name else "not here", plain(name or "it does not tell its name") + where)


def _processor(facts: Facts) -> Finding:
    machine = facts.machine
    told = processor_name(machine.text("proc/cpuinfo") or "") or platform.machine()
    cores = available_cores()
    name = ARM_CORES.get(told, told)
    return _of("processor", "Processor", "ok", f"{plain(name)}, {cores} core{'s' * (cores > 1)} to run on")


def _jetpack(facts: Facts) -> Finding:
    machine = facts.machine
    if not machine.jetson:
        return _of("jetpack", "JetPack", "not here", "this is not a Jetson")
    release = release_of(machine)
    if release is None:
        mend = "sudo apt-get install --reinstall nvidia-l4t-core"
        if machine.container:
            mend = "start the container with: -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
        return _of("jetpack", "JetPack", "warning", "a Jetson that does not tell its L4T release", mend)
    jetpack = jetpack_of(machine, release)
    found = f"L4T {release}" + (f" (JetPack {jetpack})" if jetpack else "")
    if major(release) < OLDEST:
        return _of(
            "jetpack",
            "JetPack",
            "missing",
            f"{found} is too old for Offramp's TensorRT",
            "flash JetPack 6 or later with NVIDIA's SDK Manager",
        )
    return _of("jetpack", "JetPack", "ok", found)


def _system(facts: Facts) -> Finding:
    machine = facts.machine
    lines = (machine.text("etc/os-release") or "").splitlines()
    names = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")]
    parts = [*names[:1], f"Linux {k}" if (k := machine.text("proc/sys/kernel/osrelease")) else ""]
    found = ", ".join(plain(p) for p in parts if p)
    return _of("system", "System", "ok", found or plain(platform.platform()))


def _python(facts: Facts) -> Finding:
    machine = facts.machine
    from jetson import __version__

    version = ".".join(map(str, machine.python))
    place = f"in the virtual environment {machine.prefix}" if machine.prefix != machine.base_prefix else "of the system"
    found = f"Python {version} {plain(place)}, Offramp {__version__}"
    if machine.python < OLDEST_PYTHON:
        return _of("python", "Python", "missing", found, "use Python 3.10 or later")
    return _of("python", "Python", "ok", found)


def _of(name: str, title: str, state: State, found: str, mend: str | None = None) -> Finding:
    return Finding(name=name, group="Machine", title=title, state=state, found=found, mend=mend)


CHECKS: Checks = {
    "board": _board,
    "processor": _processor,
    "jetpack": _jetpack,
    "system": _system,
    "python": _python,
}
