"""`offramp train` as a user meets it."""

import json
import sys
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.cli.train import STRATEGIES, command
from toolkit.models.record import Strategy
from toolkit.training import settings

SMALL = ["--exits", "1:mlp,2:cnn-add", "--depth", "2", "--patch-size", "4", "--epochs", "1", "--batch-size", "8"]


def offramp(out: Path, *more: str) -> int:
    return main(["train", "--data", "digits", "--out", str(out), *SMALL, *more])


@pytest.mark.usefixtures("stand_in")
def test_a_run_prints_a_line_per_epoch_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert offramp(tmp_path / "out") == 0
    out, err = capsys.readouterr()
    assert "1:mlp" in out and "2:head" in out and "accuracy %" in out
    assert "backbone: vit, random weights, 2 layers of width 32" in err
    assert sum(line.startswith("end-to-end 1/1  loss ") for line in err.splitlines()) == 1
    assert offramp(tmp_path / "out") == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
def test_json_is_all_that_is_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert offramp(tmp_path / "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [e["exit"] for e in found["exits"]] == ["1:mlp", "2:cnn-add", "2:head"]
    assert set(found["exits"][0]) == {"exit", "layer", "branch", "parameters", "metric", "value", "n"}
    assert found["checkpoint"] == str(tmp_path / "out") and len(found["digest"]) == 64


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--exits", ""], "no early exits given; write them as LAYER:BRANCH"),
        (["--exits", "9:mlp"], "layer 9 is out of range"),
        (["--image-size", "1x"], "is not a size"),
        (["--lr", "0"], "--lr 0.0: must be a positive number"),
        (["--strategy", "layer-wise", "--distill", "0.5"], "layer-wise trains it last"),
        (["--strategy", "sideways"], "'sideways' is not one of"),
        (["--backbone", "/nowhere"], "--backbone /nowhere: neither a size"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offramp(tmp_path / "out", *more) == 2
    err = capsys.readouterr().err.splitlines()
    assert words in err[-1] and err[-1].startswith("offramp train: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("stand_in")
def test_a_diverged_run_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert offramp(tmp_path / "out", "--lr", "1e30", "--epochs", "5") == 1
    assert "the loss became" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("stand_in")
def test_an_interruption_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("toolkit.cli.train_progress.Lines.epoch", interrupt)
    assert offramp(tmp_path / "out", "--epochs", "3") == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "offramp train: interrupted; the same command goes on after epoch 1 of phase end-to-end"


def test_a_missing_package_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "toolkit.training.run", raising=False)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert offramp(tmp_path / "out") == 2
    assert "accelerate is not installed: pip install 'offramp[host]'" in capsys.readouterr().err


def test_the_help_states_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"[default: {settings.EPOCHS}]" in text and f"[default: {settings.LEARNING_RATE}]" in text
    plain = {"data", "out", "exits", "restart", "as_json", "weights", "code"}
    for option in command.params:
        if option.expose_value and option.name not in plain:
            assert getattr(option, "show_default", None) or "[default: " in (getattr(option, "help", "") or "")


def test_the_strategies_offered_are_those_there_are() -> None:
    from typing import get_args

    from toolkit.training.phases import STRATEGIES as known

    assert STRATEGIES == known == get_args(Strategy)
