"""Parsers on what Jetsons print, and on files that are not there."""

import os
import subprocess

import pytest

from jetson.power import nvpmodel
from jetson.power.nvpmodel import power_mode
from jetson.profiling import device
from jetson.profiling.device import conditions, l4t_release, this_device

NVIDIA_RELEASES = [
    (
        "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, "
        "DATE: Tue Aug  1 19:57:35 UTC 2023",
        "R35.4.1",  # JetPack 5.1.2
    ),
    (
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia",
        "R36.4.3",  # JetPack 6.2
    ),
    (
        "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
        "DATE: Fri Aug 22 00:55:42 UTC 2025",
        "R38.2.0",  # JetPack 7.0
    ),
    (
        "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
        "DATE: Mon Jun  1 09:28:48 PM UTC 2026",
        "R39.2.0",  # JetPack 7.2, an AGX Orin
    ),
    ("", None),
    ("Debian GNU/Linux 12", None),
    ("# R36 (release)", None),
    (f"# R{'9' * 5000} (release), REVISION: 1.0", None),  # invented
]
POWER_MODES = [
    ("NV Power Mode: 15W\n0\n", "15W"),  # Orin Nano, JetPack 5 and 6.0
    ("NV Power Mode: 25W\n1\n", "25W"),  # Orin Nano, JetPack 6.2
    ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"),  # Orin Nano, JetPack 6.2
    ("NV Power Mode: MODE_30W\n2\n", "MODE_30W"),  # AGX Orin
    ("NV Power Mode: MAXN\n0\n", "MAXN"),  # AGX Orin
    ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_50W\n3\n", "MODE_50W"),  # AGX Orin, JetPack 5
    ("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n", "MAXN"),  # Xavier and Nano, JetPack 4
    ("NV Power Mode: MAXN\n0\n", "MAXN"),  # AGX Thor, JetPack 7
    (
        "NV Power Mode: 5W\n1\nNVPM ERROR: Error opening /sys/kernel/nvpmodel_emc_cap/emc_iso_cap: 13\n",
        "5W",  # Nano, JetPack 4, asked by a plain user
    ),
    ("", None),
    ("NVPM ERROR: Error opening /var/lib/nvpmodel/status: 2", None),
]


@pytest.mark.parametrize(("line", "release"), NVIDIA_RELEASES)
def test_the_release_of_jetson_linux(line, release):
    assert l4t_release(line) == release


@pytest.mark.parametrize(("text", "mode"), POWER_MODES)
def test_the_power_mode(text, mode):
    assert power_mode(text) == mode


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that makes files under a root of our own, which then is all that the device tells."""
    for name in ("PROC", "SYS", "ETC"):
        monkeypatch.setattr(device, name, tmp_path / name.lower())
    monkeypatch.setattr(nvpmodel.shutil, "which", lambda _name: None)

    def write(**files):
        for name, content in files.items():
            file = tmp_path / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    write.root = tmp_path
    return write


ORIN_CPU = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1

processor\t: 1
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd42
"""


def test_an_orin_nano(machine, monkeypatch):
    machine(
        **{
            "proc__device-tree__model": b"NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "proc__cpuinfo": ORIN_CPU,
            "etc__nv_tegra_release": NVIDIA_RELEASES[1][0],
        }
    )
    monkeypatch.setattr(nvpmodel.shutil, "which", lambda name: f"/usr/sbin/{name}")
    done = subprocess.CompletedProcess([], 0, "NV Power Mode: MAXN_SUPER\n2\n", "")
    monkeypatch.setattr("subprocess.run", lambda *_args, **_options: done)
    found = this_device()
    assert found.board == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (found.jetpack, found.power_mode, found.processor) == ("R36.4.3", "MAXN_SUPER", "ARM 0x41/0xd42")


def test_a_machine_that_tells_nothing(machine):
    found = this_device()
    assert (found.board, found.jetpack, found.gpu, found.power_mode) == (None, None, None, None)
    assert found.cores >= 1 and found.machine
    now = conditions()
    assert now.temperature_c is None and now.cpu_mhz is None


@pytest.mark.parametrize("failure", [OSError("no"), subprocess.TimeoutExpired("nvpmodel", 5)])
def test_an_nvpmodel_that_does_not_answer_is_no_power_mode(machine, monkeypatch, failure):
    monkeypatch.setattr(nvpmodel.shutil, "which", lambda name: f"/usr/sbin/{name}")

    def fail(*_args, **_options):
        raise failure

    monkeypatch.setattr("subprocess.run", fail)
    assert this_device().power_mode is None


def test_an_nvpmodel_that_prints_anything_is_no_power_mode(machine, monkeypatch):
    (machine.root / "nvpmodel").write_text("#!/bin/sh\nprintf '\\377\\376\\000'; exit 1\n")
    (machine.root / "nvpmodel").chmod(0o755)
    monkeypatch.setattr(nvpmodel.shutil, "which", lambda name: str(machine.root / name))
    assert this_device().power_mode is None


def test_the_hottest_zone_counts_and_nonsense_does_not(machine):
    zones = {"0": "48500\n", "1": "51250\n", "2": "-256000\n", "3": "", "4": "n/a", "5": "nan", "6": "999999999"}
    machine(**{f"sys__class__thermal__thermal_zone{n}__temp": text for n, text in zones.items()})
    assert conditions().temperature_c == 51.25


def test_zones_that_are_all_nonsense_are_no_temperature(machine):
    machine(sys__class__thermal__thermal_zone0__temp="-256000")
    assert conditions().temperature_c is None


def test_the_clock_from_where_it_is_told(machine):
    machine(proc__cpuinfo="model name\t: Some Processor @ 2.40GHz\ncpu MHz\t\t: 2399.998\ncpu MHz\t\t: 1200.0\n")
    assert conditions().cpu_mhz == 2399.998 and this_device().processor == "Some Processor @ 2.40GHz"
    machine(sys__devices__system__cpu__cpu0__cpufreq__scaling_cur_freq="1728000\n")
    assert conditions().cpu_mhz == 1728.0


def test_a_folder_in_place_of_a_file_is_not_told(machine):
    (machine.root / "proc" / "cpuinfo").mkdir(parents=True)
    assert this_device().processor


def test_the_gpu_of_an_orin_and_of_a_thor_from_the_device_tree(machine):
    # Both as the boards have them: Orin Nano (less an entry of the OE4T project's own), AGX Thor.
    for compatible, name in (
        (b"nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0", "Orin"),
        (b"nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0", "NVIDIA Thor"),
        (b"nvidia,tegra186\0", None),
        (b"raspberrypi,5-model-b\0brcm,bcm2712\0", None),
        (b"nvidia,tegra2345\0", None),  # invented
    ):
        machine(**{"proc__device-tree__compatible": compatible})
        assert this_device().gpu == name


def card(name, address="0000:01:00.0"):
    """What the driver tells of a card: from an RTX 3090, driver 590.48.01, with another name in it."""
    text = (
        f"Model: \t\t {name}\nIRQ:   \t\t 77\nGPU UUID: \t GPU-eaf23aa1-4d3d-596c-da66-b86b0e5db584\n"
        f"Video BIOS: \t 94.02.26.40.81\nBus Type: \t PCI\nBus Location: \t {address}\nDevice Minor: \t 0\n"
    )
    return {f"proc__driver__nvidia__gpus__{address}__information": text}


def test_the_first_card_by_its_place_on_the_bus(machine):
    machine(**card("NVIDIA GeForce RTX 3090"))
    assert this_device().gpu == "NVIDIA GeForce RTX 3090"
    machine(**card("NVIDIA H100 80GB HBM3", "0001:00:00.0"))
    assert this_device().gpu == "NVIDIA GeForce RTX 3090"
    machine(**card("NVIDIA RTX A4000", "00000000:00:0a.0"))
    assert this_device().gpu == "NVIDIA RTX A4000"


def test_a_card_comes_before_the_gpu_in_the_chip(machine):
    """An IGX Orin may hold one; CUDA takes the card."""
    machine(**card("NVIDIA RTX 6000 Ada Generation"), **{"proc__device-tree__compatible": b"nvidia,tegra234\0"})
    assert this_device().gpu == "NVIDIA RTX 6000 Ada Generation"


@pytest.mark.parametrize("name", ["", "   ", "Unknown", "???"])
def test_a_card_without_a_name_is_no_name(machine, name):
    machine(**card(name))
    assert this_device().gpu is None
    machine(**card("NVIDIA L4", "0000:02:00.0"))
    assert this_device().gpu == "NVIDIA L4"


def test_names_on_the_bus_that_are_no_addresses(machine):
    for name in ("zz", "0000:xx:00.0", "...", "g" * 200):  # invented
        machine(**card("NVIDIA L4", name))
    assert this_device().gpu == "NVIDIA L4" and this_device() == this_device()


def test_a_pipe_in_place_of_a_file_is_not_waited_for(machine):
    (machine.root / "proc").mkdir()
    os.mkfifo(machine.root / "proc" / "cpuinfo")
    assert this_device().processor


def test_a_file_without_end_is_read_at_its_beginning(machine):
    (machine.root / "proc").mkdir()
    (machine.root / "proc" / "cpuinfo").symlink_to("/dev/zero")
    assert this_device().processor
    machine(etc__nv_tegra_release=NVIDIA_RELEASES[1][0] + "\n" + "x" * 10_000_000)
    assert this_device().jetpack == "R36.4.3"


def test_this_very_machine_has_a_fingerprint_that_stays():
    assert this_device() == this_device()
