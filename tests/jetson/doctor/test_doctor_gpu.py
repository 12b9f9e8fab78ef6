"""The GPU, its driver and what speaks to it, where something is wrong."""

import os

import pytest

from jetson.doctor.child import Tried
from jetson.doctor.gpu import CHECKS, driver_version, toolkit_version
from tests.jetson.doctor.machines import DESKTOP, DESKTOP_CUDA, ORIN_CUDA, ORIN_NANO, THOR

DRIVERS = [
    # Orin NX, JetPack 5.1.1 (nixGL issue 139)
    ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  35.3.1  Release Build  "
     "(buildbrain@mobile-u64-6289-d7000)  Sun Mar 19 08:09:33 PDT 2023\n"
     "GCC version:  gcc version 9.3.0 (Buildroot 2020.08) \n", "35.3.1"),
    # JetPack 6.2
    (ORIN_NANO["proc/driver/nvidia/version"], "540.4.0"),
    # A DGX Spark
    ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.126.09  Release Build  "
     "(dvs-builder@U22-I3-AF04-07-5)  Wed Jan  7 22:35:57 UTC 2026\n"
     "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04.1)\n", "580.126.09"),
    # nixGL issue 121: the open module on a desktop
    (DESKTOP["proc/driver/nvidia/version"], "525.60.11"),
    # The closed module
    ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  460.80  Fri May  7 06:55:54 UTC 2021\n", "460.80"),
    ("GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04.1)", None),
    ("", None),
    ("NVRM version: " + "Kernel Module for x " * 20_000, None),  # invented
]  # fmt: skip


@pytest.mark.parametrize(("text", "version"), DRIVERS)
def test_the_driver(text, version):
    assert driver_version(text) == version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}, "libnpp": {"version": "12.3.1.54"}}', "12.6.11"),
        ("", None),
        ("[]", None),
        ('{"cuda": []}', None),
        ('{"cuda": {"version": 12}}', None),
        ('{"cuda": {"version": "\\u001b[2J"}}', "?[2J"),
        ("[" * 100_000, None),
    ],
)
def test_the_toolkit(text, version):
    assert toolkit_version(text) == version


def failing(why="CUDA_ERROR_NO_DEVICE", **of):
    return {"cuda.bindings": Tried(state="failed", version="13.5.0", why=why), **of}


def package(facts):
    return CHECKS["cuda_package"](facts)


def test_a_preferred_package_that_fails_is_a_warning(facts):
    broken = Tried(state="failed", version="2026.1", why="No module named 'pycuda._driver'")
    said = package(facts(DESKTOP, cuda={"pycuda": broken, "cuda.bindings": DESKTOP_CUDA}))
    assert (said.state, said.mend) == ("warning", "pip uninstall pycuda")
    assert said.found == "cuda.bindings 13.5.0 is used; PyCUDA 2026.1 fails: No module named 'pycuda._driver'"


def test_the_other_package_may_fail(facts):
    said = package(facts(ORIN_NANO, cuda={"pycuda": ORIN_CUDA, **failing()}))
    assert said.state == "ok" and "cuda.bindings 13.5.0 fails: CUDA_ERROR_NO_DEVICE" in said.found


def test_both_work(facts):
    said = package(facts(ORIN_NANO, cuda={"pycuda": ORIN_CUDA, "cuda.bindings": ORIN_CUDA}))
    assert said.found == "PyCUDA 2026.1 is used; cuda.bindings 2026.1 works too"


def test_a_device_that_only_a_group_may_open(facts, monkeypatch):
    here = facts({**ORIN_NANO, "dev/nvmap": ""}, cuda=failing())
    allowed = os.access
    monkeypatch.setattr("jetson.doctor.gpu.os.access", lambda p, m: allowed(p, m) if m == os.F_OK else False)
    assert package(here).mend == "sudo usermod -aG video,render $USER, and log in again"


@pytest.mark.parametrize(("files", "mend"), [(ORIN_NANO, "--runtime nvidia"), (DESKTOP, "--gpus all")])
def test_a_container_without_the_gpu(facts, files, mend):
    here = facts({**files, ".dockerenv": ""}, cuda=failing())
    assert package(here).mend == f"start the container with: {mend}"
    assert "start the container" not in package(facts({**files, "dev/nvidiactl": ""}, cuda=failing())).mend


@pytest.mark.parametrize(
    ("files", "tools", "mend"),
    [
        (ORIN_NANO, {}, "PATH=/usr/local/cuda/bin:$PATH pip install 'offramp[jetson]'"),
        (ORIN_NANO, {"nvcc": ""}, "pip install 'offramp[jetson]'"),
        (THOR, {}, "pip install 'cuda-bindings>=13,<14'"),
        (DESKTOP, {}, "pip install 'cuda-bindings>=12.6,<13'"),  # driver 525
        ({"proc/driver/nvidia/version": DRIVERS[2][0]}, {}, "pip install 'cuda-bindings>=13,<14'"),
    ],
)
def test_what_to_install(facts, files, tools, mend):
    assert package(facts(files, tools)).mend == mend


def test_a_driver_without_a_gpu_to_be_seen(facts):
    here = facts({"proc/driver/nvidia/version": DRIVERS[3][0], ".dockerenv": ""}, cuda=failing())
    assert CHECKS["gpu"](here).state == "warning" and CHECKS["gpu"](here).mend.endswith("--gpus all")


def test_a_card_without_its_driver(facts):
    """The nouveau driver, or none: Linux still lists the card."""
    here = facts(
        {"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n"}
    )
    assert CHECKS["gpu"](here).state == "ok" and CHECKS["driver"](here).state == "missing"
    assert "ubuntu-drivers" in CHECKS["driver"](here).mend


@pytest.mark.parametrize(
    ("vendor", "kind"), [("0x8086", "0x030000"), ("0x10de", "0x040300"), ("0x10de", ""), ("", "0x030000")]
)
def test_other_cards_are_none(facts, vendor, kind):
    where = "sys/bus/pci/devices/0000:01:00."
    here = facts({f"{where}0/vendor": vendor, f"{where}0/class": kind})
    assert CHECKS["gpu"](here).state == CHECKS["driver"](here).state == "not here"


def test_cuda_that_works_where_the_driver_is_not_told(facts):
    """Windows' Linux has CUDA and no /proc/driver/nvidia."""
    here = facts(cuda={"cuda.bindings": DESKTOP_CUDA})
    assert [CHECKS[n](here).state for n in ("gpu", "driver", "cuda", "cuda_package")] == ["ok"] * 4
    assert CHECKS["cuda"](here).found == "the driver speaks CUDA 12.0"
