"""A change of mode is noticed by what it leaves in files; nvpmodel is asked only then."""

import pytest

from jetson.power import watch
from jetson.power.watch import BLIND_LOOKS, ModeWatch


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Files of an Orin Nano, and an nvpmodel that counts how often it is asked."""
    monkeypatch.setattr(watch, "ROOT", tmp_path)

    class Machine:
        mode, asked = "25W", 0

        def write(self, name, text):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    made = Machine()

    def current():
        made.asked += 1
        return made.mode

    monkeypatch.setattr(watch.nvpmodel, "current", current)
    return made


@pytest.fixture
def watching(machine):
    """A watch that looks only when it is told to, and what it told."""
    told, made = [], []

    def begin():
        made.append(ModeWatch("25W", told.append, look_s=1e6))
        return made[-1], told

    yield begin
    for one in made:
        one.close()


def test_nothing_is_asked_while_nothing_changes(machine, watching):
    machine.write("var/lib/nvpmodel/status", "pmode:0001")
    one, told = watching()
    for _ in range(2 * BLIND_LOOKS):
        one.look()
    assert machine.asked == 0 and told == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("var/lib/nvpmodel/status", "pmode:0002"),
        ("var/lib/nvpmodel/status", "pmode:0008 fmode:quiet"),  # Xavier NX
        ("sys/devices/system/cpu/online", "0-3"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1497600"),
        ("sys/class/devfreq/17000000.gpu/max_freq", "612000000"),
    ],
)
def test_a_change_is_told_once(machine, watching, name, text):
    machine.write("var/lib/nvpmodel/status", "pmode:0001")
    one, told = watching()
    machine.mode = "MAXN_SUPER"
    machine.write(name, text)
    one.look()
    one.look()
    assert told == ["MAXN_SUPER"] and machine.asked == 1


def test_clocks_that_change_within_a_mode_are_none(machine, watching):
    """jetson_clocks, for example."""
    one, told = watching()
    machine.write("sys/class/devfreq/17000000.gpu/max_freq", "1020000000")
    one.look()
    assert told == [] and machine.asked == 1


def test_an_nvpmodel_that_does_not_answer_is_asked_again(machine, watching):
    one, told = watching()
    machine.mode = None
    machine.write("var/lib/nvpmodel/status", "pmode:0000")
    one.look()
    machine.mode = "15W"
    one.look()
    assert told == ["15W"] and machine.asked == 2


def test_where_there_is_nothing_to_look_at_it_is_asked_now_and_then(machine, watching):
    one, told = watching()
    machine.mode = "15W"
    for _ in range(2 * BLIND_LOOKS):
        one.look()
    assert told == ["15W"] and machine.asked == 2


def test_it_looks_by_itself(machine):
    import threading

    came = threading.Event()
    one = ModeWatch("25W", lambda _mode: came.set(), look_s=0.001)
    machine.mode = "15W"
    machine.write("var/lib/nvpmodel/status", "pmode:0000")
    assert came.wait(30)
    one.close()
    assert not one._thread.is_alive()
