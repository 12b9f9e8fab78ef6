"""Whole machines: what is found on each, and what is said of the engines."""

import dataclasses
import os

import msgspec
import pytest

from jetson.doctor import examine as module
from jetson.doctor.check import Report
from jetson.doctor.child import Tried
from jetson.doctor.examine import CHECKS, examine, report_on
from jetson.doctor.machine import Machine
from jetson.doctor.room import memory
from tests.jetson.doctor.machines import (
    ABSENT,
    DESKTOP,
    DESKTOP_CUDA,
    ORIN_CUDA,
    ORIN_NANO,
    RTX,
    THOR,
    THOR_CUDA,
)

TRT_10_3 = Tried(state="ok", version="10.3.0")
BROKEN = Tried(state="failed", why="crashed (SIGSEGV)")


def report(facts):
    return report_on(facts, memory(facts.machine))


def found(facts):
    """Findings by name, every one of which must be there once."""
    findings = report(facts).findings
    names = [f.name for f in findings]
    assert sorted(names) == sorted({*names}) and set(names) == {"memory", *(n for c in CHECKS.values() for n in c)}
    return {f.name: f for f in findings}


def verdict(facts, engine="TensorRT"):
    return next(v for v in report(facts).verdicts if v.engine == engine)


@pytest.fixture
def orin(facts, say):
    """A function that gives an Orin Nano with JetPack 6.2; all is well on it unless something is said otherwise."""

    def about(**options):
        tools = {"nvpmodel": say("NV Power Mode: MAXN_SUPER\n2")}
        given = {"cuda": {"pycuda": ORIN_CUDA}, "tensorrt": {"tensorrt": TRT_10_3}, "tools": tools, **options}
        return facts({**ORIN_NANO, **given.pop("files", {})}, **given)

    return about


def test_an_orin_nano_that_is_ready(orin):
    facts = orin()
    said = found(facts)
    assert {n for n, f in said.items() if f.state == "missing"} == set()
    assert said["board"].found == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert said["processor"].found.startswith("Arm Cortex-A78AE, ")
    assert said["jetpack"].found == "L4T R36.4.3 (JetPack 6.2)"
    assert said["system"].found == "Ubuntu 22.04.5 LTS, Linux 5.15.148-tegra"
    assert said["gpu"].found == "Orin, compute capability 8.7, 7.4 GiB shared with the host, 4.2 free"
    assert said["driver"].found == "NVIDIA 540.4.0"
    assert said["cuda"].found == "the driver speaks CUDA 12.6; toolkit 12.6.11 in /usr/local/cuda"
    assert said["cuda_package"].found == "PyCUDA 2026.1 is used; cuda.bindings is not installed"
    assert (said["tensorrt"].state, said["tensorrt"].found) == ("ok", "10.3.0")
    assert said["tensorrt_rtx"].state == "not here"
    assert said["power_mode"].found == "MAXN_SUPER"
    assert said["clocks"].mend == "sudo jetson_clocks, for a profile that repeats"
    assert said["temperature"].found == "51 °C at the hottest place"
    assert said["memory"].found == "5.2 of 7.4 GiB free, 3.7 GiB of swap free"
    assert (said["cache"].state, said["engines"].found) == ("ok", "none built yet")
    assert [v.sentence for v in report(facts).verdicts] == [
        "ONNX Runtime: ready",
        "TensorRT: ready",
        "Building for RTX GPUs: not ready, because not installed; a Jetson uses JetPack's TensorRT",
    ]


def test_an_orin_nano_just_flashed(orin):
    facts = orin(cuda={}, tensorrt={}, onnxruntime=ABSENT)
    said = found(facts)
    assert said["gpu"].found == "Orin"  # from the device tree
    assert said["tensorrt"].mend == "sudo apt-get install nvidia-jetpack"
    assert said["cuda_package"].mend == "PATH=/usr/local/cuda/bin:$PATH pip install 'offramp[jetson]'"
    assert verdict(facts).sentence == (
        "TensorRT: not ready, because TensorRT is not installed; do: sudo apt-get install nvidia-jetpack"
    )
    assert verdict(facts, "ONNX Runtime").sentence == (
        "ONNX Runtime: not ready, because ONNX Runtime is not installed; do: pip install onnxruntime"
    )


def test_a_jetson_with_tensorrt_and_nothing_that_speaks_cuda(orin):
    assert verdict(orin(cuda={})).because == "neither PyCUDA nor cuda.bindings is installed"


def test_tensorrt_for_rtx_does_not_make_a_jetson_ready(orin):
    facts = orin(tensorrt={"tensorrt_rtx": RTX})
    ready = report(facts).ready
    assert (ready.tensorrt, ready.build_rtx) == (False, True)
    assert verdict(facts).because == "TensorRT for RTX does not know this GPU, and TensorRT itself is not here"
    assert verdict(facts).mend == "sudo apt-get install nvidia-jetpack"


def test_jetpack_5_is_too_old_whatever_else_is_there(orin):
    line = (
        "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, "
        "DATE: Tue Aug  1 19:57:35 UTC 2023"
    )
    facts = orin(files={"etc/nv_tegra_release": line})
    assert found(facts)["jetpack"].found == "L4T R35.4.1 (JetPack 5) is too old for Offramp's TensorRT"
    assert not report(facts).ready.tensorrt and report(facts).ready.onnxruntime


def test_a_thor(facts, say):
    # TensorRT 10.13 came with JetPack 7.0; the power mode is from jetpack-nixos pull request 460, on a Thor.
    here = facts(
        THOR,
        {"nvpmodel": say("NV Power Mode: MAXN\n0")},
        cuda={"cuda.bindings": THOR_CUDA},
        tensorrt={"tensorrt": Tried(state="ok", version="10.13.3.9")},
        python=(3, 12),
    )
    said = found(here)
    assert said["jetpack"].found == "L4T R38.2.0 (JetPack 7.0)"
    assert said["gpu"].found.startswith("NVIDIA Thor, compute capability 11.0, 122.8 GiB shared with the host")
    assert said["cuda_package"].found == "cuda.bindings 13.5.0 is used; PyCUDA is not installed"
    assert said["power_mode"].found == "MAXN"
    assert said["clocks"].found == "GPU 1575 of 1575 MHz, fixed as jetson_clocks does"
    assert said["tensorrt"].state == "warning" and "not tried with Offramp" in said["tensorrt"].found
    assert verdict(here).ready


def test_a_desktop_with_an_rtx_gpu(facts):
    here = facts(DESKTOP, cuda={"cuda.bindings": DESKTOP_CUDA}, tensorrt={"tensorrt_rtx": RTX})
    said = found(here)
    assert said["board"].found == "Some Vendor Tower"
    assert said["gpu"].found.startswith("NVIDIA GeForce RTX 3090, compute capability 8.6, 23.6 GiB of its own")
    assert said["driver"].found == "NVIDIA 525.60.11"
    assert said["jetpack"].state == said["tensorrt"].state == said["power_mode"].state == "not here"
    assert said["tensorrt_rtx"].found == "1.7.1.116; builds for SM 75, 80, 86, 89, 120, 121"
    assert [v.ready for v in report(here).verdicts] == [True, True, True]


def test_a_gpu_that_tensorrt_for_rtx_does_not_know(facts):
    h200 = msgspec.structs.replace(DESKTOP_CUDA, gpu="NVIDIA H200", compute_capability=(9, 0))
    here = facts(DESKTOP, cuda={"cuda.bindings": h200}, tensorrt={"tensorrt_rtx": RTX})
    assert found(here)["tensorrt"].mend == verdict(here).mend == "pip install tensorrt"
    assert not verdict(here).ready
    assert verdict(facts(DESKTOP, cuda={"cuda.bindings": h200}, tensorrt={"tensorrt": TRT_10_3})).ready


def test_a_desktop_without_any_tensorrt(facts):
    assert verdict(facts(DESKTOP, cuda={"cuda.bindings": DESKTOP_CUDA})).mend == "pip install 'offramp[rtx]'"


def test_an_empty_container(facts):
    here = facts({".dockerenv": ""}, onnxruntime=ABSENT)
    said = found(here)
    assert {n: f.state for n, f in said.items()} == {
        **dict.fromkeys(("board", "jetpack", "gpu", "driver", "cuda", "cuda_package", "tensorrt", "host"), "not here"),
        **dict.fromkeys(("power_mode", "clocks", "temperature", "memory", "engines"), "not here"),
        **dict.fromkeys(("processor", "system", "python", "cache"), "ok"),
        **dict.fromkeys(("tensorrt_rtx", "onnxruntime"), "missing"),
        "base": "warning",  # no packages at all in sight
    }
    assert verdict(here).sentence == (
        "TensorRT: not ready, because there is no NVIDIA GPU here; do: use ONNX Runtime here, TensorRT on the Jetson"
    )


FILES = sorted({*ORIN_NANO, *THOR, *DESKTOP, "sys/fs/cgroup/memory.max", "sys/class/devfreq/x.gpu/cur_freq"})
GARBAGE = [
    bytes(range(256)) * 4,
    b"\xff\xfe" * 5000,
    b"\0" * 100,
    b"9" * 400,
    b"\x1b[2J\x1b]0;owned\x07 R36 (release), REVISION: \x1b[31m",
    b'{"cuda": ' * 2000,
    b"# R99999999999999999999 (release), REVISION: 9.9.9",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_every_file_is_shown_harmlessly(facts, garbage, say):
    here = facts(dict.fromkeys(FILES, garbage), {"nvpmodel": "printf '\\377\\033[2J'; exit 3", "dpkg-query": "exit 2"})
    said = report(here)
    assert [f.found for f in said.findings if "could not be looked at" in f.found] == []
    for text in [t for f in said.findings for t in (f.found, f.mend or "", f.title)]:
        assert text.isprintable() and len(text) < 400
    assert msgspec.json.decode(msgspec.json.encode(said), type=Report) == said


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "device"])
def test_no_file_is_what_it_should_be(facts, kind):
    here = facts()
    for name in FILES:
        file = here.machine.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            file.mkdir()
        elif kind == "pipe":  # opening it would wait for ever
            os.mkfifo(file)
        else:
            file.symlink_to(file if kind == "loop" else "/dev/zero")
    assert [f.found for f in report(here).findings if "could not be looked at" in f.found] == []


def test_nothing_may_be_read(orin, monkeypatch):
    here = orin(cuda={})

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("jetson.doctor.machine.os.open", refuse)
    monkeypatch.setattr("jetson.profiling.device.read_text", lambda _file: None)
    said = found(here)
    assert said["jetpack"].state == "warning" and said["memory"].state == "not here"
    monkeypatch.undo()


@pytest.mark.parametrize("name", [n for checks in CHECKS.values() for n in checks])
def test_a_check_that_fails_is_a_finding(orin, monkeypatch, name):
    def fail(_facts):
        raise ZeroDivisionError("one\ntwo \x1b[31m")

    for group, checks in CHECKS.items():
        if name in checks:
            monkeypatch.setitem(CHECKS, group, {**checks, name: fail})
    said = report(orin())
    (failed,) = [f for f in said.findings if f.name == f"{name}_check"]
    assert failed.state == "warning" and "ZeroDivisionError: one" in failed.found and failed.found.isprintable()
    assert len(said.findings) == 1 + sum(map(len, CHECKS.values()))
    assert said.ready.tensorrt == (name not in ("gpu", "tensorrt", "cuda_package"))
    assert said.ready.onnxruntime == (name != "onnxruntime")


def test_libraries_that_crash_are_named(orin):
    facts = orin(cuda={"pycuda": BROKEN, "cuda.bindings": BROKEN}, tensorrt={"tensorrt": BROKEN}, onnxruntime=BROKEN)
    said = found(facts)
    assert said["tensorrt"].found == "TensorRT cannot be loaded: crashed (SIGSEGV)"
    assert said["cuda_package"].found == "PyCUDA fails: crashed (SIGSEGV); cuda.bindings fails: crashed (SIGSEGV)"
    assert said["onnxruntime"].found == "ONNX Runtime cannot be loaded: crashed (SIGSEGV)"
    assert [v.ready for v in report(facts).verdicts] == [False, False, False]


def test_an_engine_that_builds_nothing_is_not_ready(orin):
    stuck = Tried(state="ok", version="10.3.0", builder="CUDA initialization failure with error: 35")
    assert verdict(orin(tensorrt={"tensorrt": stuck})).because == (
        "10.3.0 loads and cannot build: CUDA initialization failure with error: 35"
    )


def test_a_hanging_nvpmodel_costs_its_time_and_nothing_else(orin):
    here = orin(tools={"nvpmodel": "sleep 60 & sleep 60"}, tool_seconds=0.3)
    said = found(here)["power_mode"]
    assert (said.state, said.found) == ("warning", "nvpmodel did not answer within 0.3 s")
    assert report(here).ready.tensorrt


@pytest.mark.slow
def test_this_very_machine(tmp_path):
    said = examine(Machine(cache=tmp_path / "none"))
    assert said.ready.onnxruntime and not (tmp_path / "none").exists()
    assert [f.found for f in said.findings if "could not be looked at" in f.found] == []
    assert dict.fromkeys(f.group for f in said.findings) == dict.fromkeys(CHECKS)


def test_memory_is_looked_at_before_the_libraries_take_some(make, monkeypatch):
    order = []
    monkeypatch.setattr(module.room, "memory", lambda m: order.append("memory") or memory(m))
    monkeypatch.setattr(module, "facts_of", lambda m, _t: order.append("libraries") or _no_facts(m))
    machine = dataclasses.replace(make(), child_seconds=0.0)
    examine(machine)
    assert order == ["memory", "libraries"]


def _no_facts(machine):
    from jetson.doctor.facts import Facts
    from tests.jetson.doctor.machines import NO_CUDA, NO_TENSORRT

    return Facts(machine=machine, cuda=dict(NO_CUDA), tensorrt=dict(NO_TENSORRT))
