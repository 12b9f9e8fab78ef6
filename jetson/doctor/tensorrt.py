"""TensorRT: which packages there are, whether they load, and whether a virtual environment hides JetPack's."""

from __future__ import annotations

import re
import shlex

from jetson.doctor.check import Finding, State
from jetson.doctor.child import Tried
from jetson.doctor.facts import Checks, Facts
from jetson.doctor.jetpack import major, release_of
from jetson.doctor.machine import Machine, plain

WRITTEN_FOR = {"tensorrt": ("10.3", "10.16", "11.4"), "tensorrt_rtx": ("1.7",)}
"""Versions that Offramp is written for and tested with, as far as that goes without the hardware."""
OLDEST = 10
"""The first major version of `tensorrt` with all the names Offramp uses."""
DIST_PACKAGES = "lib/python3*/dist-packages/tensorrt"
"""Under /usr and /usr/local: where JetPack and NVIDIA's containers put TensorRT's Python package."""


def serves_gpu(facts: Facts) -> bool:
    """Whether TensorRT for RTX knows this machine's GPU; yes when that cannot be told."""
    used, targets = facts.cuda_used, facts.tensorrt["tensorrt_rtx"].targets
    if facts.machine.jetson:
        return False
    if used is None or not targets:
        return True
    high, low = used[1].compute_capability
    return 10 * high + low in targets


def _tensorrt(facts: Facts) -> Finding:
    machine, tried = facts.machine, facts.tensorrt["tensorrt"]
    name, title = "tensorrt", "TensorRT"
    if tried.state == "ok":
        return _loaded(name, title, "tensorrt", tried, facts)
    if tried.state == "failed":
        return _of(name, title, "missing", f"TensorRT cannot be loaded: {tried.why}", _mend_load(machine, tried.why))
    if hidden := _hidden(machine):
        found, mend = hidden
        return _of(name, title, "missing", found, mend)
    if machine.jetson:
        return _of(name, title, "missing", "TensorRT is not installed", _install(machine))
    if facts.gpu_here and not serves_gpu(facts):
        return _of(name, title, "missing", "TensorRT is not installed", "pip install tensorrt")
    return _of(name, title, "not here", "not installed; TensorRT for RTX takes its place off a Jetson")


def _rtx(facts: Facts) -> Finding:
    tried = facts.tensorrt["tensorrt_rtx"]
    name, title, mend = "tensorrt_rtx", "TensorRT for RTX", "pip install 'offramp[rtx]'"
    if tried.state == "ok":
        return _loaded(name, title, "tensorrt_rtx", tried, facts)
    if tried.state == "failed":
        state: State = "warning" if facts.machine.jetson else "missing"
        return _of(name, title, state, f"TensorRT for RTX cannot be loaded: {tried.why}", mend)
    if facts.machine.jetson:
        return _of(name, title, "not here", "not installed; a Jetson uses JetPack's TensorRT")
    return _of(name, title, "missing", "TensorRT for RTX is not installed", mend)


def _loaded(name: str, title: str, package: str, tried: Tried, facts: Facts) -> Finding:
    version = tried.version or "of an unknown version"
    found, state, mend = version, "ok", None
    if package == "tensorrt" and _number(version) < OLDEST:
        found, state = f"TensorRT {version} is too old", "missing"
        mend = "flash JetPack 6 or later" if facts.machine.jetson else "pip install --upgrade tensorrt"
    elif ".".join(version.split(".")[:2]) not in WRITTEN_FOR[package]:
        found, state = (
            f"{version}, not tried with Offramp, which is written for {_listed(WRITTEN_FOR[package])}",
            "warning",
        )
    if tried.builder and (package == "tensorrt_rtx" or facts.cuda_used):
        found, state = f"{version} loads and cannot build: {tried.builder}", "missing"
    elif package == "tensorrt_rtx":
        found += "; builds for SM " + ", ".join(map(str, tried.targets)) if tried.targets else ""
    return _of(name, title, state, found, mend)  # type: ignore[arg-type]


def _hidden(machine: Machine) -> tuple[str, str] | None:
    """A TensorRT that the system's Python sees and this one does not, and what to do."""
    places = [p for usr in ("usr/", "usr/local/") for p in machine.names(usr + DIST_PACKAGES)]
    versions = {_python_of(p) for p in places}
    own = machine.python
    if not versions:
        return None
    if own not in versions and None not in versions:
        other = max(v for v in versions if v)
        name = ".".join(map(str, other))
        found = f"JetPack's TensorRT is for Python {name}, this is {'.'.join(map(str, own))}"
        return found, f"python{name} -m venv --system-site-packages .venv, and install Offramp there"
    settings = machine.prefix / "pyvenv.cfg"
    if machine.prefix == machine.base_prefix:
        return "TensorRT is installed, and this Python does not look where it is", "use the system's /usr/bin/python3"
    return (
        "TensorRT is installed, and this virtual environment hides it",
        plain(f"sed -i '/^include-system/s/false/true/' {shlex.quote(str(settings))}", 400),
    )


def _python_of(place: str) -> tuple[int, int] | None:
    found = re.search(r"python3\.(\d+)/", place)
    return (3, int(found[1])) if found else None


def _mend_load(machine: Machine, why: str) -> str | None:
    release = release_of(machine) if machine.jetson else None
    if machine.container and machine.jetson:
        return "start the container with: --runtime nvidia"
    if "libnvdla_compiler" in why and release and major(release) == 36:
        return "sudo apt-get install nvidia-l4t-dla-compiler"
    if "libcuda.so" in why:
        return "install NVIDIA's driver and restart"
    return _install(machine) if machine.jetson else "pip install --force-reinstall tensorrt"


def _install(machine: Machine) -> str:
    if machine.container:
        return "use an image that holds TensorRT, e.g. nvcr.io/nvidia/l4t-jetpack"
    return "sudo apt-get install nvidia-jetpack"


def _number(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else OLDEST


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _of(name: str, title: str, state: State, found: str, mend: str | None = None) -> Finding:
    return Finding(name=name, group="Engines", title=title, state=state, found=found, mend=mend)


CHECKS: Checks = {"tensorrt": _tensorrt, "tensorrt_rtx": _rtx}
