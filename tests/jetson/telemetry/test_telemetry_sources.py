"""Where telemetry comes from: jetson-stats before tegrastats before the sensors themselves, or nowhere."""

import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from jetson.telemetry import recorder, sources
from jetson.telemetry.ina3221 import rails_w
from jetson.telemetry.sources import record
from tests.board import Board
from tests.telemetry import THOR_38_4, XAVIER_NX_35


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without any of them."""
    monkeypatch.setattr(sources, "SYS", tmp_path / "sys")
    monkeypatch.setattr(sources, "JTOP_SOCKET", tmp_path / "jtop.sock")
    monkeypatch.setattr(recorder, "FIRST_S", 60.0)  # a busy machine must not make a difference
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "jtop", None)  # importing it fails
    return tmp_path


def files(folder, **content):
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def orin_nano(nowhere):
    """Its sensors, as JetPack 5 and 6 have them."""
    chip = nowhere / "sys" / "class" / "hwmon" / "hwmon1"
    files(
        chip,
        name="ina3221",
        in1_label="VDD_IN",
        in1_input=5072,
        curr1_input=657,
        in2_label="VDD_CPU_GPU_CV",
        in2_input=5072,
        curr2_input=103,
        in3_label="NC",
        in3_input=5072,
        curr3_input=8,
        in7_label="sum of shunt voltages",
        in7_input=3,
        curr7_input=1,
    )
    files(nowhere / "sys" / "class" / "hwmon" / "hwmon0", name="pwmfan", in1_label="VDD_IN", in1_input=1, curr1_input=1)
    files(nowhere / "sys" / "class" / "thermal" / "thermal_zone0", type="cpu-thermal", temp=45500)
    return nowhere


class Client:
    """As `jtop.jtop`, whose service answers at once."""

    answers = True

    def __init__(self, interval):
        self.interval = interval
        self.power = {"rail": {}, "tot": {"name": "VDD_IN", "power": 4000}}
        self.closed = threading.Event()

    def start(self):
        if not self.answers:
            raise RuntimeError("The jtop.service is not active. Please run: sudo systemctl restart jtop.service")

    def ok(self):
        return not self.closed.wait(0.005)

    def close(self):
        self.closed.set()


def jtop(monkeypatch, answers):
    sources.JTOP_SOCKET.touch()
    module = ModuleType("jtop")
    module.jtop = type("jtop", (Client,), {"answers": answers})
    monkeypatch.setitem(sys.modules, "jtop", module)


def test_a_machine_that_tells_nothing(nowhere):
    assert record() is None


def test_the_sensors_themselves(orin_nano):
    assert rails_w(orin_nano / "sys") == pytest.approx({"VDD_IN": 3.332304, "VDD_CPU_GPU_CV": 0.522416})
    with record() as found:
        reading = found.next()
    assert found.source.name == "ina3221" and reading.power_w == pytest.approx(3.332304)
    assert reading.temperatures_c == {"cpu-thermal": 45.5}


def test_the_sensors_of_jetpack_4(nowhere):
    folder = nowhere / "sys" / "bus" / "i2c" / "drivers" / "ina3221x" / "6-0040" / "iio:device0"
    files(folder, rail_name_0="POM_5V_IN", in_power0_input=1750, rail_name_1="POM_5V_GPU", in_power1_input=0)
    assert rails_w(nowhere / "sys") == {"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0}


def test_tegrastats_comes_before_the_sensors(orin_nano, monkeypatch):
    monkeypatch.setenv("PATH", f"{orin_nano / 'bin'}:/usr/bin:/bin")
    Board(orin_nano / "bin", line=THOR_38_4)
    with record() as found:
        first = found.next()
        second = found.next()
        process = found.source._process
    assert found.source.name == "tegrastats" and first.power_w == second.power_w == 19.78 and second.at > first.at
    assert found.between(first.at, second.at)[0] == first
    assert process.poll() is not None


def test_a_tegrastats_that_says_nothing_leaves_it_to_the_sensors(orin_nano, monkeypatch):
    monkeypatch.setenv("PATH", f"{orin_nano / 'bin'}:/usr/bin:/bin")
    tool = Board(orin_nano / "bin", line="Segmentation fault").folder / "tegrastats"
    tool.write_text("#!/bin/sh\necho Segmentation fault\n")
    with record() as found:
        assert found.source.name == "ina3221"


def test_jetson_stats_comes_first(orin_nano, monkeypatch):
    Board(orin_nano / "bin", line=XAVIER_NX_35)
    jtop(monkeypatch, answers=True)
    with record() as found:
        assert found.source.name == "jtop" and found.next().power_w == 4.0
    assert found.source._board.closed.is_set() and found.source._board.interval == found.source.interval_s


def test_a_service_that_does_not_answer_leaves_it_to_the_next(orin_nano, monkeypatch):
    jtop(monkeypatch, answers=False)
    with record() as found:
        assert found.source.name == "ina3221"


def test_jetson_stats_is_not_asked_where_its_service_is_not(orin_nano, monkeypatch):
    jtop(monkeypatch, answers=True)
    sources.JTOP_SOCKET.unlink()
    with record() as found:
        assert found.source.name == "ina3221"


def test_a_source_that_cannot_be_started_leaves_it_to_the_next(orin_nano, monkeypatch):
    monkeypatch.setattr(sources.shutil, "which", lambda _name: "/nowhere/tegrastats")
    monkeypatch.setattr(sources.subprocess, "Popen", lambda *_a, **_k: SimpleNamespace(missing=1).other)
    with record() as found:
        assert found.source.name == "ina3221"
