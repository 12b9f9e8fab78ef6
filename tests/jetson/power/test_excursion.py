"""Back to the mode that held, whatever happens."""

import os
import signal

import pytest

from jetson.errors import WorkFailed
from jetson.power.excursion import back_to
from jetson.power.nvpmodel import PowerMode

BEFORE = PowerMode(1, "25W")


class Tool:
    """Counts its changes; may fail, and may be interrupted meanwhile."""

    def __init__(self):
        self.changed, self.fails, self.meanwhile = [], False, lambda: None

    def change(self, mode):
        self.meanwhile()
        if self.fails:
            raise WorkFailed("nvpmodel is gone")
        self.changed.append(mode)

    def by_hand(self, mode):
        return f"sudo nvpmodel -m {mode.id}"


@pytest.fixture
def tool():
    return Tool()


def test_at_the_end_and_after_a_failure(tool):
    told = []
    with back_to(tool, BEFORE, lambda: told.append("back")):
        assert not tool.changed
    with pytest.raises(ZeroDivisionError), back_to(tool, BEFORE, lambda: told.append("back")):
        raise ZeroDivisionError
    assert tool.changed == [BEFORE, BEFORE] and told == ["back", "back"]


@pytest.mark.parametrize(("number", "raised"), [("SIGINT", KeyboardInterrupt), ("SIGHUP", KeyboardInterrupt)])
def test_after_a_signal(tool, number, raised):
    before = signal.getsignal(getattr(signal, number))
    with pytest.raises(raised), back_to(tool, BEFORE, lambda: None):
        os.kill(os.getpid(), getattr(signal, number))
        signal.pause()
    assert tool.changed == [BEFORE] and signal.getsignal(getattr(signal, number)) is before


def test_a_second_signal_waits_until_the_mode_holds_again(tool):
    tool.meanwhile = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), back_to(tool, BEFORE, lambda: None):
        pass
    assert tool.changed == [BEFORE]


def test_of_two_signals_in_the_block_the_second_waits(tool):
    """It could come between the end of the block and the change back."""

    def twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), back_to(tool, BEFORE, lambda: None):
        try:
            twice()
            signal.pause()
        finally:
            twice()
    assert tool.changed == [BEFORE]


def test_a_signal_that_is_put_off_ends_the_block_when_it_comes_again(tool):
    """As the command line does in the middle of an import."""
    came = []

    def put_off(number, _frame):
        came.append(number)
        if len(came) == 2:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, put_off)
    try:
        with pytest.raises(KeyboardInterrupt), back_to(tool, BEFORE, lambda: None):
            os.kill(os.getpid(), signal.SIGTERM)
            assert came == [signal.SIGTERM]
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert tool.changed == [BEFORE]


def test_what_could_not_be_restored_is_said_with_what_to_do(tool):
    tool.fails = True
    says = pytest.raises(WorkFailed, match=r"25W, which held before, could not be restored .*sudo nvpmodel -m 1")
    with says, back_to(tool, BEFORE, lambda: pytest.fail("it does not hold")):
        raise KeyboardInterrupt


def test_nohup_stays_nohup(tool):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with back_to(tool, BEFORE, lambda: None):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert tool.changed == [BEFORE]
