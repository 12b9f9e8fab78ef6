"""Which JetPack a release of Jetson Linux (L4T) belongs to, as NVIDIA's JetPack archive has it."""

from __future__ import annotations

import re

from jetson.doctor.machine import Machine
from jetson.profiling.device import l4t_release

JETPACKS = {
    "R36.2.0": "6.0 DP",
    "R36.3.0": "6.0",
    "R36.4.0": "6.1",
    "R36.4.3": "6.2",
    "R36.4.4": "6.2.1",
    "R36.4.7": "6.2.1",
    "R36.5.0": "6.2.2",
    "R36.5.2": "6.2.3",
    "R38.2.0": "7.0",
    "R38.2.1": "7.0",
    "R38.4.0": "7.1",
    "R39.2.0": "7.2",
    "R39.2.1": "7.2.1",
}
MAJORS = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7", 39: "7"}
OLDEST = 36
"""The first L4T with Python 3.10; its TensorRT has all that Offramp uses from 10.3 on."""
QUERY = "-f=${Package} ${Version} ${db:Status-Abbrev}\\n"


def release_of(machine: Machine) -> str | None:
    """The L4T release, e.g. `R36.4.3`: from its own file, else from the package that brings it."""
    told = l4t_release(machine.text("etc/nv_tegra_release") or "")
    if told:
        return told
    core = installed(machine).get("nvidia-l4t-core", "")
    found = re.match(r"(\d+\.\d+\.\d+)", core)
    return f"R{found[1]}" if found else None


def jetpack_of(machine: Machine, release: str) -> str | None:
    """The JetPack, e.g. `6.2`: from the package nvidia-jetpack where it is installed, else from the release."""
    package = re.match(r"(\d+(?:\.\d+)+)", installed(machine).get("nvidia-jetpack", ""))
    return package[1] if package else JETPACKS.get(release) or MAJORS.get(major(release))


def major(release: str) -> int:
    """36 of `R36.4.3`."""
    return int(release[1:].split(".")[0])


def installed(machine: Machine) -> dict[str, str]:
    """Versions of NVIDIA's two packages that name a release, as far as they are installed."""
    output = machine.run("dpkg-query", "-W", QUERY, "nvidia-l4t-core", "nvidia-jetpack")
    lines = output.text.splitlines() if output and not output.trouble else []
    fields = [line.split() for line in lines]
    return {f[0]: f[1] for f in fields if len(f) == 3 and f[2] == "ii"}
