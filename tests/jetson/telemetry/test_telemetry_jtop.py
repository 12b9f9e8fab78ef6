"""What jetson-stats tells, in the shapes that its documentation gives (version 4), and in shapes it never had."""

from types import SimpleNamespace

import pytest

from jetson.telemetry.jtop import read


def board(**parts):
    """A `jtop` on an Orin Nano."""
    whole = {
        "power": {
            "rail": {
                "VDD_CPU_GPU_CV": {"volt": 5072, "curr": 103, "power": 522, "avg": 521, "online": True},
                "VDD_SOC": {"volt": 5072, "curr": 222, "power": 1126, "avg": 1125, "online": True},
            },
            "tot": {"volt": 5072, "curr": 657, "power": 3335, "avg": 3335, "name": "VDD_IN", "online": True},
        },
        "temperature": {
            "cpu": {"temp": 45.5, "online": True},
            "gpu": {"temp": 46.0, "online": True},
            "cv0": {"temp": -256.0, "online": False},
        },
        "cpu": {
            "total": {"user": 1.0},
            "cpu": [
                {"online": True, "governor": "schedutil", "freq": {"min": 729600, "max": 1728000, "cur": 1510400}},
                {"online": False},
            ],
        },
        "gpu": {"gpu": {"type": "integrated", "status": {"load": 3.0}, "freq": {"cur": 306000, "max": 1020000}}},
    }
    return SimpleNamespace(**(whole | parts))


def test_an_orin_nano():
    found = read(board(), at=7.0)
    assert found.rails_w == {"VDD_CPU_GPU_CV": 0.522, "VDD_SOC": 1.126, "VDD_IN": 3.335} and found.power_w == 3.335
    assert found.temperatures_c == {"cpu": 45.5, "gpu": 46.0} and found.hottest_c == 46.0
    assert (found.at, found.cpu_mhz, found.gpu_mhz) == (7.0, (1510.4,), 306.0)


def test_its_gpu_is_no_dict():
    """In version 4 and later it is an object with the methods of one."""

    class Gpu:
        def values(self):
            return [{"type": "integrated", "freq": {"cur": 612000, "GPC": [612000, 612000]}}]

    assert read(board(gpu=Gpu()), 0.0).gpu_mhz == 612.0


def test_a_total_that_is_the_sum_of_all_rails_is_not_taken():
    """On an AGX Orin it would count VDDQ_VDD2_1V8AO twice."""
    rails = {"VDD_GPU_SOC": 3000, "VDD_CPU_CV": 800, "VIN_SYS_5V0": 4000, "VDDQ_VDD2_1V8AO": 300}
    power = {"rail": {n: {"power": p} for n, p in rails.items()}, "tot": {"power": 8100, "avg": 8000}}
    assert read(board(power=power), 0.0).power_w == pytest.approx(7.8)


@pytest.mark.parametrize(
    "parts",
    [
        {"power": {}, "temperature": {}, "cpu": {}, "gpu": {}},
        {"power": None, "temperature": None, "cpu": None, "gpu": None},
        {"power": {"rail": None, "tot": None}, "cpu": {"cpu": None}, "gpu": {"gpu": None}, "temperature": {"x": None}},
        {"power": {"rail": {"VDD_IN": {"power": "?"}}}, "gpu": {"gpu": {"freq": {"cur": 0}}}, "cpu": {"cpu": [{}]}},
    ],
)
def test_what_is_not_told_is_none(parts):
    found = read(board(**({"temperature": {}, "cpu": {}} | parts)), 0.0)
    assert (found.rails_w, found.temperatures_c, found.cpu_mhz, found.gpu_mhz) == ({}, {}, (), None)
