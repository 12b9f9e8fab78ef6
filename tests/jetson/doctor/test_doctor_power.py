"""Power mode and clocks, as tools and files tell them."""

import pytest

from jetson.doctor.power import CHECKS
from tests.jetson.doctor.machines import ORIN_NANO, THOR


def mode(facts):
    return CHECKS["power_mode"](facts)


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("NV Power Mode: 25W\n1", "25W"),  # Orin Nano, JetPack 6.2
        ("NV Power Mode: MODE_30W\n2", "MODE_30W"),  # AGX Orin
        ("NV Power Mode: MAXN\n0", "MAXN"),  # AGX Orin, L4T 36.5; AGX Thor, JetPack 7
        # Nano, JetPack 4, asked by a plain user (jetbot issue 49)
        ("NV Power Mode: 5W\n1\nNVPM ERROR: Error opening /sys/kernel/nvpmodel_emc_cap/emc_iso_cap: 13", "5W"),
    ],
)
def test_the_power_mode(facts, say, printed, found):
    assert mode(facts(ORIN_NANO, {"nvpmodel": say(printed)})).found == found


def test_nvpmodel_that_tells_a_plain_user_nothing(facts, say, monkeypatch):
    here = facts(ORIN_NANO, {"nvpmodel": say("NVPM ERROR: Error opening /var/lib/nvpmodel/status: 13") + "\nexit 255"})
    monkeypatch.setattr("jetson.doctor.power.os.geteuid", lambda: 1000)
    assert mode(here).mend == "sudo nvpmodel -q" and "plain user" in mode(here).found
    monkeypatch.setattr("jetson.doctor.power.os.geteuid", lambda: 0)
    assert mode(here).mend is None and "nvpmodel/status: 13" in mode(here).found


@pytest.mark.parametrize("script", ["", "kill -SEGV $$", "printf '\\033[31m'"])
def test_nvpmodel_that_says_nothing_of_use(facts, script):
    said = mode(facts(ORIN_NANO, {"nvpmodel": script}))
    assert said.state == "warning" and said.found.isprintable()


def test_no_nvpmodel(facts):
    assert mode(facts()).state == "not here"
    assert mode(facts(ORIN_NANO)).state == "warning"
    assert mode(facts({**ORIN_NANO, ".dockerenv": ""})).mend == "read it outside the container"


def fixed(names):
    """The files of an Orin with the lowest clock set to the highest, as jetson_clocks does."""
    return {n: ORIN_NANO[n.replace("min_freq", "max_freq")] for n in ORIN_NANO if "min_freq" in n and names in n}


def test_clocks_of_an_orin(facts):
    clocks = CHECKS["clocks"]
    said = clocks(facts(ORIN_NANO))
    assert said.found == "CPU 730 of 1728 MHz (schedutil), GPU 306 of 1020 MHz, free to change with the load"
    assert clocks(facts({**ORIN_NANO, **fixed("cpufreq")})).state == "warning"
    assert clocks(facts({**ORIN_NANO, **fixed("devfreq")})).state == "warning"
    assert clocks(facts({**ORIN_NANO, **fixed("freq")})).state == "ok"


def test_clocks_elsewhere_are_told_and_not_judged(facts):
    files = {n: c for n, c in ORIN_NANO.items() if "cpufreq" in n}
    said = CHECKS["clocks"](facts(files))
    assert (said.state, said.found, said.mend) == ("ok", "CPU 730 of 1728 MHz (schedutil)", None)


def test_clocks_of_other_boards(facts):
    assert "GPU 1575 of 1575 MHz" in CHECKS["clocks"](facts(THOR)).found


def test_clocks_that_are_half_told(facts):
    files = {"sys/class/devfreq/17000000.gpu/cur_freq": "306000000", "sys/class/devfreq/gpu-gpc-0/max_freq": "n/a"}
    assert CHECKS["clocks"](facts(files)).state == "not here"


@pytest.mark.parametrize(
    ("temperature", "state"), [("51250", "ok"), ("84999", "ok"), ("85000", "warning"), ("-256000", "not here")]
)
def test_temperature(facts, temperature, state):
    assert CHECKS["temperature"](facts({"sys/class/thermal/thermal_zone0/temp": temperature})).state == state
