import importlib
import os
import signal
import sys
import threading

import pytest

from toolkit.cli.stop import Terminated, clean_stop

STOPS = [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]


@pytest.mark.parametrize(("number", "error"), STOPS)
def test_a_signal_unwinds_at_once(number, error):
    before = signal.getsignal(number)
    with pytest.raises(error), clean_stop():
        os.kill(os.getpid(), number)
        threading.Event().wait(10.0)
        raise AssertionError("the signal was not heard")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "error"), STOPS)
def test_an_import_under_way_ends_first(number, error, tmp_path, monkeypatch):
    name = f"stopped_by_{number.name.lower()}"
    (tmp_path / f"{name}.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error), clean_stop():
        assert importlib.import_module(name).whole
        threading.Event().wait(10.0)
        raise AssertionError("the signal was forgotten")
    assert sys.modules.pop(name).whole


def test_a_signal_that_comes_too_late_hurts_nobody(tmp_path, monkeypatch):
    name = "stopped_at_its_end"
    (tmp_path / f"{name}.py").write_text(f"import os\nos.kill(os.getpid(), {int(signal.SIGTERM)})\n")
    monkeypatch.syspath_prepend(tmp_path)
    with clean_stop():
        importlib.import_module(name)
    waiting = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    for timer in waiting:
        timer.join(10.0)
    sys.modules.pop(name)


def test_ctrl_c_that_a_background_job_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with clean_stop():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_accelerate_keeps_its_own_way(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    before = signal.getsignal(signal.SIGTERM)
    with clean_stop():
        assert signal.getsignal(signal.SIGTERM) is before
