"""TensorRT that is there and cannot be had."""

import subprocess
import sys

import pytest

from jetson.doctor.child import Tried
from jetson.doctor.tensorrt import CHECKS
from tests.jetson.doctor.machines import DESKTOP, DESKTOP_CUDA, ORIN_NANO, RTX

PLACE = "usr/lib/python3.10/dist-packages/tensorrt/__init__.py"


def tensorrt(facts):
    return CHECKS["tensorrt"](facts)


def test_a_virtual_environment_that_hides_jetpacks_tensorrt(facts, tmp_path):
    venv = tmp_path / "a venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    said = tensorrt(facts({**ORIN_NANO, PLACE: ""}, prefix=venv))
    assert (said.state, said.found) == ("missing", "TensorRT is installed, and this virtual environment hides it")
    settings = venv / "pyvenv.cfg"
    assert "include-system-site-packages = false" in settings.read_text()
    subprocess.run(["sh", "-c", said.mend], check=True)
    assert "include-system-site-packages = true" in settings.read_text()


@pytest.mark.parametrize(
    ("place", "python", "found"),
    [
        (PLACE, (3, 12), "JetPack's TensorRT is for Python 3.10, this is 3.12"),
        (
            "usr/local/lib/python3.12/dist-packages/tensorrt/__init__.py",
            (3, 10),
            "JetPack's TensorRT is for Python 3.12",
        ),
        (
            "usr/lib/python3/dist-packages/tensorrt/__init__.py",
            (3, 12),
            "TensorRT is installed, and this Python does not",
        ),
        (PLACE, (3, 10), "TensorRT is installed, and this Python does not look"),
    ],
)
def test_a_python_that_does_not_see_it(facts, place, python, found):
    said = tensorrt(facts({**ORIN_NANO, place: ""}, python=python))
    assert said.state == "missing" and said.found.startswith(found) and said.mend


@pytest.mark.parametrize(
    ("files", "why", "mend"),
    [
        (
            ORIN_NANO,
            "libnvdla_compiler.so: cannot open shared object file",
            "sudo apt-get install nvidia-l4t-dla-compiler",
        ),
        (
            {**ORIN_NANO, ".dockerenv": ""},
            "libnvdla_compiler.so: cannot open",
            "start the container with: --runtime nvidia",
        ),
        (ORIN_NANO, "libnvinfer.so.10: cannot open shared object file", "sudo apt-get install nvidia-jetpack"),
        (DESKTOP, "libcuda.so.1: cannot open shared object file", "install NVIDIA's driver and restart"),
        (DESKTOP, "anything", "pip install --force-reinstall tensorrt"),
    ],
)
def test_a_library_that_is_missing(facts, files, why, mend):
    said = tensorrt(facts(files, tensorrt={"tensorrt": Tried(state="failed", why=why)}))
    assert (said.state, said.mend) == ("missing", mend) and why in said.found


@pytest.mark.parametrize(
    ("version", "state"),
    [
        *[(v, "ok") for v in ("10.3.0", "10.3.0.30", "10.16.2.10", "11.4.0")],
        *[(v, "warning") for v in ("10.13.3.9", "10.30.1", "11.0.0", "12.0", "x", "")],
        *[(v, "missing") for v in ("8.5.2.2", "9.0")],
    ],
)
def test_versions(facts, version, state):
    said = tensorrt(facts(ORIN_NANO, tensorrt={"tensorrt": Tried(state="ok", version=version)}))
    assert said.state == state


def test_versions_for_rtx(facts):
    def state(version):
        return CHECKS["tensorrt_rtx"](facts(tensorrt={"tensorrt_rtx": Tried(state="ok", version=version)})).state

    assert (state("1.7.1.116"), state("1.4.0"), state("1.70")) == ("ok", "warning", "warning")


def test_rtx_that_cannot_build(facts):
    stuck = Tried(state="ok", version="1.7.1.116", builder="out of memory")
    said = CHECKS["tensorrt_rtx"](facts(tensorrt={"tensorrt_rtx": stuck}))
    assert (said.state, said.found) == ("missing", "1.7.1.116 loads and cannot build: out of memory")


def test_rtx_that_does_not_load(facts):
    broken = {"tensorrt_rtx": Tried(state="failed", why="crashed (SIGILL)")}
    assert CHECKS["tensorrt_rtx"](facts(DESKTOP, tensorrt=broken)).state == "missing"
    assert CHECKS["tensorrt_rtx"](facts(ORIN_NANO, tensorrt=broken)).state == "warning"


def test_a_desktop_needs_one_of_the_two(facts):
    here = facts(DESKTOP, cuda={"cuda.bindings": DESKTOP_CUDA}, tensorrt={"tensorrt_rtx": RTX})
    assert tensorrt(here).state == "not here"
    assert CHECKS["tensorrt_rtx"](facts(DESKTOP)).mend == "pip install 'offramp[rtx]'"
