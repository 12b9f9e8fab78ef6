"""What `offramp doctor` prints, and how it ends."""

import json
import re

import msgspec
import pytest
from rich.console import Console

from jetson.doctor import examine as examination
from jetson.doctor.check import Finding, Ready, Report, Verdict
from tests.conftest import offramp
from toolkit.cli import doctor, main

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LONG = "sudo" + " a-word-that-is-rather-lengthy" * 12


def report(tensorrt=True, **changes):
    findings = [
        Finding(name="board", group="Machine", title="Board", state="ok", found="Some [bold]board[/] :smile:"),
        Finding(name="gpu", group="GPU", title="GPU", state="not here", found="no NVIDIA GPU"),
        Finding(name="cuda", group="GPU", title="CUDA package", state="missing", found="none", mend=LONG),
        Finding(name="folder", group="Room", title="Engine cache", state="warning", found="/" + "x" * 300, mend="rm"),
    ]
    verdicts = (
        Verdict(engine="ONNX Runtime", state="ok"),
        Verdict(engine="TensorRT", state="ok")
        if tensorrt
        else Verdict(engine="TensorRT", state="missing", because="it is gone", mend="get it"),
    )
    ready = Ready(onnxruntime=True, tensorrt=tensorrt, build_rtx=False)
    fields = {"offramp": "1", "ready": ready, "verdicts": verdicts, "findings": tuple(findings)}
    return Report(**{**fields, **changes})


@pytest.fixture
def see(monkeypatch):
    """A function that says what the examination shall find, and how wide the terminal is."""

    def given(found, width=100, terminal=True):
        console = Console(
            highlight=False, soft_wrap=True, width=width, force_terminal=terminal, color_system="standard"
        )
        monkeypatch.setattr(doctor, "out", console)
        monkeypatch.setattr(examination, "examine", lambda: found)

    return given


@pytest.mark.parametrize("width", [60, 80, 100, 180])
def test_the_screen_is_aligned_and_no_wider_than_the_terminal(see, capsys, width):
    see(report(), width)
    assert main(["doctor"]) == 0
    shown = [COLOUR.sub("", line) for line in capsys.readouterr().out.splitlines()]
    assert max(len(line) for line in shown if "-> " not in line) <= min(width, doctor.WIDEST)
    assert [line for line in shown if line != line.rstrip()] == []
    assert [s for s in shown if not s.startswith(" ")][:3] == ["Machine", "GPU", "Room"]
    starts = {
        line.index(text) for line in shown for text in ("Some [bold]", "no NVIDIA", "none", "/xxx") if text in line
    }
    assert starts == {26}
    assert " " * 26 + "-> " + LONG in shown and "".join(shown).count("x") == 300
    assert shown[-2:] == ["ONNX Runtime: ready", "TensorRT: ready"]


def test_words_are_shown_as_they_are_and_states_in_colour(see, capsys):
    see(report())
    main(["doctor"])
    shown = capsys.readouterr().out
    assert "Some [bold]board[/] :smile:" in shown
    assert "\x1b[32mok" in shown and "\x1b[33mwarning" in shown and "\x1b[1;31mmissing" in shown


def test_what_mends_a_verdict_can_be_copied(see, capsys):
    lost = Verdict(engine="TensorRT", state="missing", because="it is gone", mend=LONG)
    see(report(tensorrt=False, verdicts=(lost,)))
    main(["doctor"])
    shown = COLOUR.sub("", capsys.readouterr().out).splitlines()
    assert shown[-2:] == ["TensorRT: not ready, because it is gone", f"-> {LONG}"]
    see(report(tensorrt=False))
    main(["doctor"])
    assert COLOUR.sub("", capsys.readouterr().out).endswith("because it is gone; do: get it\n")


def test_the_check_ends_with_one_line(see, capsys):
    see(report(tensorrt=False))
    assert main(["doctor"]) == 0
    assert main(["doctor", "--check"]) == 1
    out, err = capsys.readouterr()
    assert err == "offramp doctor: TensorRT: not ready, because it is gone; do: get it\n"
    assert out.count("TensorRT: ") == 2
    see(report())
    assert main(["doctor", "--check"]) == 0


def test_data_holds_everything(see, capsys):
    see(report(tensorrt=False))
    assert main(["doctor", "--json", "--check"]) == 1
    out, _ = capsys.readouterr()
    data = json.loads(out)
    assert data["ready"] == {"onnxruntime": True, "tensorrt": False, "build_rtx": False}
    assert [f["state"] for f in data["findings"]] == ["ok", "not here", "missing", "warning"]
    assert msgspec.convert(data, Report) == report(tensorrt=False)


@pytest.mark.slow
def test_on_this_very_machine(tmp_path):
    done = offramp("doctor", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert data["ready"]["onnxruntime"] is True
    shown = offramp("doctor", "--check", cwd=tmp_path)
    assert shown.returncode == (0 if data["ready"]["tensorrt"] else 1)
    assert "\x1b" not in shown.stdout and "ONNX Runtime: ready" in shown.stdout.splitlines()
    assert max(map(len, shown.stdout.splitlines())) <= doctor.WIDEST
