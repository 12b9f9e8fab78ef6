"""`offramp profile --power-modes` as a user runs it, against stand-ins of a board's tools on PATH (tests/board.py)."""

import json
import os
import signal
import subprocess
import sys

import pytest

from jetson import LatencyProfile
from tests.board import Board
from tests.bundles import tiny_bundle
from tests.conftest import environment, offramp
from tests.telemetry import XAVIER_NX_35
from toolkit.cli import main

QUICK = ("--rounds", "2", "--seconds", "0", "--warm-up", "0", "--settle", "0")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("b") / "bundle").path


@pytest.fixture
def board(tmp_path, monkeypatch):
    made = Board(tmp_path / "bin", line=XAVIER_NX_35)
    monkeypatch.setenv("PATH", made.environment["PATH"])
    monkeypatch.chdir(tmp_path)
    return made


def profile(bundle, *words):
    return offramp("profile", str(bundle), "--power-modes", *words)


@pytest.mark.slow
def test_every_mode_is_measured_but_the_one_that_wants_a_reboot_and_the_first_holds_again(board, bundle, tmp_path):
    found = profile(bundle, "15W,MAXN_SUPER,7W", "--yes", "--json", "--no-energy", *QUICK)
    assert found.returncode == 0, found.stderr
    assert board.changes == ["15W", "MAXN_SUPER", "7W", "25W"] and board.mode == "25W"
    assert not (board.folder / "rebooted").exists()
    assert "power mode 7W needs a reboot, and nobody is rebooted here: skipped (sudo nvpmodel -m 3" in found.stderr
    assert "power mode 25W holds again" in found.stderr
    printed = json.loads(found.stdout)
    assert [p["device"]["power_mode"] for p in printed] == ["15W", "MAXN_SUPER"]
    assert sorted(f.name for f in (tmp_path / "profiles").iterdir()) == ["15W.json", "MAXN_SUPER.json"]
    one = LatencyProfile.load(tmp_path / "profiles" / "15W.json")
    # What the stand-in of tegrastats prints is what the board tells.
    assert one.device.power_mode == "15W" and one.energy is None
    assert (one.start.temperature_c, one.start.gpu_mhz, one.start.power_w) == (46.5, 114.0, 2.763)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_all", "code"), [("SIGINT", True, 130), ("SIGTERM", False, 143)])
def test_a_signal_in_the_middle_leaves_the_first_mode(board, bundle, tmp_path, number, to_all, code):
    """Ctrl-C reaches the whole group of processes, kill reaches one."""
    words = ["profile", str(bundle), "--power-modes", "15W", "--yes", "--no-energy", "--settle", "0"]
    words += ["--rounds", "1000000000", "--seconds", "600"]
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", *words],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if line.startswith("profiling"):
            break
    assert board.mode == "15W"
    (os.killpg if to_all else os.kill)(process.pid, getattr(signal, number))
    rest = process.stderr.read()
    assert process.wait() == code, rest
    assert board.mode == "25W" and "power mode 25W holds again" in rest and "Traceback" not in rest
    assert not (tmp_path / "profiles" / "15W.json").exists()


@pytest.fixture
def quick(board, bundle, monkeypatch):
    """A function that runs the command in this process; a profile is made without measuring."""
    from tests.bundles import fake_profile
    from toolkit.cli import power_modes

    def measured(words, mode):
        import msgspec

        base = fake_profile(tiny_bundle(board.folder.parent / "other"))
        device = msgspec.structs.replace(base.device, power_mode=quick_run.says or board.mode)
        msgspec.structs.replace(base, device=device).save(board.folder.parent / "profiles" / f"{mode.name}.json")
        quick_run.words.append(list(words))

    monkeypatch.setattr(power_modes, "_measure", measured)

    def quick_run(*words):
        return main(["profile", str(bundle), "--power-modes", *words])

    quick_run.words, quick_run.says = [], None
    return quick_run


@pytest.mark.slow
def test_a_config_file_that_asks_for_power_modes_does_not_do_so_again_in_each(board, bundle, tmp_path, monkeypatch):
    monkeypatch.delenv("OFFRAMP_CONFIG")
    (tmp_path / "offramp.toml").write_text('[profile]\npower-modes = "25W"\nrounds = 2\nseconds = 0\nwarm-up = 0\n')
    found = offramp("profile", str(bundle), "--no-energy")
    assert found.returncode == 0, found.stderr
    assert LatencyProfile.load(tmp_path / "profiles" / "25W.json").exits[0].end_to_end_ms.n == 2


def test_the_options_reach_the_process_that_measures(quick, bundle):
    assert quick("25W", "--threads", "1", "--frame-size", "48x64", "--conditions", "idle", "--no-energy") == 0
    words = " ".join(quick.words[0])
    assert words.startswith(f"{bundle} --rounds 1000 --seconds 30.0") and words.endswith("--out profiles/25W.json")
    assert "--threads 1" in words and "--frame-size 48x64" in words and "--conditions idle" in words
    assert "--no-energy" in words


def test_the_present_mode_alone_is_measured_without_a_question(quick, board):
    assert quick("25W") == 0 and board.changes == []


def test_where_nobody_can_be_asked_yes_must_be_given(quick, board, capsys):
    assert quick("15W") == 2
    assert "nobody can be asked here: give --yes" in capsys.readouterr().err and board.changes == []


@pytest.mark.parametrize(("answer", "code", "changes"), [("y\n", 0, ["15W", "25W"]), ("n\n", 130, [])])
def test_it_asks_first(quick, board, monkeypatch, answer, code, changes):
    import io

    stdin = io.StringIO(answer)
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)
    assert quick("15W", "--settle", "0") == code and board.changes == changes


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("30W", "--yes"), 2, "this board has no power mode '30W'; it has 15W, 25W, MAXN_SUPER, 7W"),
        (("15W,,7W", "--yes"), 2, "'15W,,7W' is not a list of names"),
        (("7W", "--yes"), 1, "no power mode could be measured: 7W"),
        (("25W", "--out", "file"), 2, "with --power-modes it is a folder"),
        (("25W", "--conditions", "hot"), 2, "give some of warm, cold, idle, loaded"),
    ],
)
def test_what_cannot_be_done_is_one_line(quick, board, tmp_path, capsys, words, code, says):
    (tmp_path / "file").write_text("")
    assert quick(*words) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("offramp profile: ") and says in last and board.mode == "25W"


def test_a_mode_that_somebody_changed_meanwhile_is_noticed(quick, board, capsys):
    quick.says = "MAXN_SUPER"
    assert quick("15W", "--yes", "--settle", "0") == 1
    assert "power mode MAXN_SUPER held when it was measured, not 15W" in capsys.readouterr().err
    assert board.mode == "25W"


def test_without_nvpmodel(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["profile", str(bundle), "--power-modes", "all", "--yes"]) == 2
    assert "there is no nvpmodel here, as only Jetsons have it" in capsys.readouterr().err
