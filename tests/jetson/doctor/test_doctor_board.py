"""Which JetPack it is, on lines as NVIDIA's boards and packages have them."""

import pytest

from jetson.doctor.board import CHECKS
from jetson.doctor.jetpack import jetpack_of, release_of

RELEASES = [
    # JetPack 6.0, an AGX Orin
    ("# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64, "
     "DATE: Mon May  6 17:34:21 UTC 2024", "L4T R36.3.0 (JetPack 6.0)"),
    # jetson_stats issue 677: AGX Orin
    ("# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, "
     "DATE: Mon Jun 16 16:07:13 UTC 2025", "L4T R36.4.4 (JetPack 6.2.1)"),
    # jetson_stats issue 791: Orin Nano
    ("# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, "
     "DATE: Thu Sep 18 22:54:44 UTC 2025", "L4T R36.4.7 (JetPack 6.2.1)"),
    # an AGX Orin and an Orin NX
    ("# R36 (release), REVISION: 5.0, GCID: 43688277, BOARD: generic, EABI: aarch64, "
     "DATE: Fri Jan 16 03:50:45 UTC 2026", "L4T R36.5.0 (JetPack 6.2.2)"),
    # jetson_stats issue 711: AGX Thor
    ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
     "DATE: Fri Aug 22 00:55:42 UTC 2025", "L4T R38.2.0 (JetPack 7.0)"),
    # jetson_stats issue 864: AGX Orin
    ("# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
     "DATE: Mon Jun  1 09:28:48 PM UTC 2026", "L4T R39.2.0 (JetPack 7.2)"),
    # Orin Nano, JetPack 7.2.1
    ("# R39 (release), REVISION: 2.1, GCID: 46758480, BOARD: generic, EABI: aarch64, "
     "DATE: Fri Aug 7 05:54:22 AM UTC 2026", "L4T R39.2.1 (JetPack 7.2.1)"),
    # Invented: releases that were not there when this was written.
    ("# R36 (release), REVISION: 9.9, GCID: 1", "L4T R36.9.9 (JetPack 6)"),
    ("# R45 (release), REVISION: 1.0, GCID: 1", "L4T R45.1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "found"), RELEASES)
def test_jetpack_from_the_release(facts, line, found):
    said = CHECKS["jetpack"](facts({"etc/nv_tegra_release": line}))
    assert (said.state, said.found) == ("ok", found)


# An Orin NX: L4T 36.5.0, nvidia-jetpack 6.2.2+b24; the core's date is from an AGX Orin with 36.5.2.
PACKAGES = "nvidia-jetpack 6.2.2+b24 ii \nnvidia-l4t-core 36.5.2-20260716114719 ii "


def test_jetpack_from_its_packages(make, say):
    here = make(tools={"dpkg-query": say(PACKAGES)})
    assert release_of(here) == "R36.5.2" and jetpack_of(here, "R36.4.7") == "6.2.2"


def test_packages_that_were_removed_tell_nothing(make, say):
    told = say(PACKAGES.replace(" ii", " rc") + "\ndpkg-query: no packages found matching nvidia-x")
    here = make(tools={"dpkg-query": told})
    assert release_of(here) is None and jetpack_of(here, "R36.4.3") == "6.2"


def test_a_jetson_in_a_container_that_hides_its_release(facts):
    files = {"proc/device-tree/compatible": b"nvidia,p3767-0005\0nvidia,tegra234\0", ".dockerenv": ""}
    said = CHECKS["jetpack"](facts(files))
    assert said.state == "warning" and "/etc/nv_tegra_release:ro" in said.mend
    assert "in a container" in CHECKS["board"](facts(files)).found


def test_processors(facts):
    orin = "CPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
    assert CHECKS["processor"](facts({"proc/cpuinfo": orin})).found.startswith("Arm Cortex-A78AE, ")
    intel = "model name\t: Intel(R) Xeon(R) Processor @ 2.60GHz\n"
    assert CHECKS["processor"](facts({"proc/cpuinfo": intel})).found.startswith("Intel(R) Xeon(R)")


def test_python_and_where_it_is(facts, tmp_path):
    assert "of the system" in CHECKS["python"](facts()).found
    said = CHECKS["python"](facts(prefix=tmp_path / "venv"))
    assert f"in the virtual environment {tmp_path / 'venv'}" in said.found and said.state == "ok"
    assert CHECKS["python"](facts(python=(3, 8))).state == "missing"
