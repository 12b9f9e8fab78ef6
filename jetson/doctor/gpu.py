"""The GPU, its driver, CUDA, and the Python package that speaks to it."""

from __future__ import annotations

import os
import re

import msgspec

from jetson.doctor.check import Finding, State
from jetson.doctor.facts import CUDA_NAMES, Checks, Facts
from jetson.doctor.jetpack import major, release_of
from jetson.doctor.machine import Machine, plain

DISPLAY = re.compile(r"0x03[0-9a-f]{4}")
"""PCI class of graphics cards, with a screen or without."""
NVIDIA = "0x10de"
GIB = 1 << 30


def _gpu(facts: Facts) -> Finding:
    machine, used = facts.machine, facts.cuda_used
    if used:
        tried = used[1]
        kind = "shared with the host" if tried.integrated else "of its own"
        capability = ".".join(map(str, tried.compute_capability))
        memory = f"{tried.total_bytes / GIB:.1f} GiB {kind}, {tried.free_bytes / GIB:.1f} free"
        return _of("gpu", "GPU", "ok", f"{plain(tried.gpu)}, compute capability {capability}, {memory}")
    if facts.gpu:
        return _of("gpu", "GPU", "ok", plain(facts.gpu))
    if not facts.gpu_here:
        if _without_driver(machine):
            return _of("gpu", "GPU", "ok", "an NVIDIA GPU, its driver is not loaded")
        return _of("gpu", "GPU", "not here", "no NVIDIA GPU")
    return _of("gpu", "GPU", "warning", "the driver is there, the GPU is not to be seen", _reach(machine))


def _driver(facts: Facts) -> Finding:
    machine = facts.machine
    version = driver_version(machine.text("proc/driver/nvidia/version") or "")
    if version:
        return _of("driver", "Driver", "ok", f"NVIDIA {version}")
    if facts.cuda_used or machine.jetson:
        return _of("driver", "Driver", "ok", "NVIDIA's, its version is not told")
    if _without_driver(machine):
        mend = "install NVIDIA's driver and restart (Ubuntu: sudo ubuntu-drivers install)"
        return _of("driver", "Driver", "missing", "NVIDIA's driver is not loaded", mend)
    return _of("driver", "Driver", "not here", "no NVIDIA driver")


def _cuda(facts: Facts) -> Finding:
    number = facts.cuda_used[1].driver_version if facts.cuda_used else 0
    toolkit = toolkit_version(facts.machine.text("usr/local/cuda/version.json") or "")
    parts = [f"the driver speaks CUDA {number // 1000}.{number % 1000 // 10}"] if number else []
    parts += [f"toolkit {toolkit} in /usr/local/cuda"] if toolkit else []
    if parts:
        return _of("cuda", "CUDA", "ok", "; ".join(parts))
    return _of("cuda", "CUDA", "not here", "no toolkit" + ("" if facts.gpu_here else ", no driver"))


def _package(facts: Facts) -> Finding:
    title, used = "CUDA package", facts.cuda_used
    others = [_said(n, t.state, t.version, t.why) for n, t in facts.cuda.items() if not used or n != used[0]]
    if used:
        name, tried = used
        before = list(facts.cuda)[: list(facts.cuda).index(name)]
        broken = any(facts.cuda[n].state == "failed" for n in before)
        found = "; ".join([f"{CUDA_NAMES[name]} {tried.version} is used".replace("  ", " "), *others])
        mend = f"pip uninstall {' '.join(before)}" if broken else None
        return _of("cuda_package", title, "warning" if broken else "ok", found, mend)
    failed = [n for n, t in facts.cuda.items() if t.state == "failed"]
    if not facts.gpu_here:
        there = " and ".join(CUDA_NAMES[n] for n in failed)
        return _of(
            "cuda_package",
            title,
            "not here",
            f"{there} installed, no GPU to use" if there else "none, nor a GPU to use",
        )
    if failed:
        return _of("cuda_package", title, "missing", "; ".join(others), _mend_failure(facts))
    return _of(
        "cuda_package", title, "missing", "neither PyCUDA nor cuda.bindings is installed", _install(facts.machine)
    )


def _said(name: str, state: str, version: str, why: str) -> str:
    if state == "absent":
        return f"{CUDA_NAMES[name]} is not installed"
    label = " ".join(filter(None, [CUDA_NAMES[name], version]))
    return f"{label} works too" if state == "ok" else f"{label} fails: {plain(why)}"


def _mend_failure(facts: Facts) -> str:
    machine = facts.machine
    if machine.has("dev/nvmap") and not os.access(machine.path("dev/nvmap"), os.R_OK | os.W_OK):
        return "sudo usermod -aG video,render $USER, and log in again"
    if machine.container and not _devices(machine):
        return _reach(machine)
    return _install(machine)


def _reach(machine: Machine) -> str:
    """How to get at a GPU whose driver is there."""
    if machine.container:
        return "start the container with: " + ("--runtime nvidia" if machine.jetson else "--gpus all")
    if machine.jetson:
        return "sudo apt-get install nvidia-l4t-cuda, and restart"
    return "see why with: sudo dmesg | grep -i nvrm"


def _devices(machine: Machine) -> bool:
    return any(machine.has(f"dev/{n}") for n in ("nvidiactl", "nvmap", "nvhost-ctrl-gpu"))


def _install(machine: Machine) -> str:
    """PyCUDA where it can be compiled, else the bindings of the driver's CUDA, which come compiled."""
    if machine.tool("nvcc"):
        return "pip install 'offramp[jetson]'"
    if machine.has("usr/local/cuda/bin/nvcc"):
        return "PATH=/usr/local/cuda/bin:$PATH pip install 'offramp[jetson]'"
    return "pip install 'cuda-bindings>=13,<14'" if _speaks_13(machine) else "pip install 'cuda-bindings>=12.6,<13'"


def _speaks_13(machine: Machine) -> bool:
    """Whether the driver knows CUDA 13: JetPack 7 does, and elsewhere the driver from 580 on."""
    if machine.jetson and (release := release_of(machine)):
        return major(release) >= 38
    version = driver_version(machine.text("proc/driver/nvidia/version") or "")
    return version is not None and int(version.split(".")[0]) >= 580


def _without_driver(machine: Machine) -> bool:
    for name in machine.names("sys/bus/pci/devices/*/vendor"):
        kind = machine.text(name.removesuffix("vendor") + "class") or ""
        if machine.text(name) == NVIDIA and DISPLAY.fullmatch(kind):
            return True
    return False


def driver_version(text: str) -> str | None:
    """The version in /proc/driver/nvidia/version, whose first line has had several forms."""
    found = re.search(r"^NVRM version:.*?Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)\b", text, re.MULTILINE)
    return found[1] if found else None


def toolkit_version(text: str) -> str | None:
    """The version in the CUDA toolkit's version.json."""
    try:
        told = msgspec.json.decode(text.encode(errors="replace"))["cuda"]["version"]
    except (msgspec.MsgspecError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return plain(told) if isinstance(told, str) else None


def _of(name: str, title: str, state: State, found: str, mend: str | None = None) -> Finding:
    return Finding(name=name, group="GPU", title=title, state=state, found=found, mend=mend)


CHECKS: Checks = {"gpu": _gpu, "driver": _driver, "cuda": _cuda, "cuda_package": _package}
