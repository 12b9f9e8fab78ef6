"""Boards in a file, and the command line around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jetson.errors import BadInput
from toolkit.cli import main
from toolkit.deploy.inventory import load_inventory

TOML = """
[boards.orin]
address = "me@orin"
port = 2222
ssh = ["-J", "gateway"]
engine = "tensorrt"

[boards.nano]
address = "nano"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "boards.toml"
    path.write_text(TOML)
    return path


def test_toml(file: Path) -> None:
    boards = load_inventory(file)
    assert list(boards) == ["orin", "nano"]
    assert (boards["orin"].port, boards["orin"].ssh, boards["nano"].engine) == (2222, ("-J", "gateway"), None)
    assert list(load_inventory(file, ["nano"])) == ["nano"]
    with pytest.raises(BadInput, match="names no board xavier, but orin, nano"):
        load_inventory(file, ["xavier"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"boards": {"a": {"address": "a", "prot": 1}}}, "prot"),
        ({"boards": {"a": {"address": "a", "engine": "x"}}}, "engine"),
        ({"boards": {"a": {}}}, "address"),
        ({"boards": {}}, "names no board"),
        ({}, "boards"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, data: object, said: str) -> None:
    path = tmp_path / "boards.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BadInput, match=said):
        load_inventory(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a board: offramp deploy user@host"),
        (["bundle"], "name a board: offramp deploy user@host bundle"),
        (["-oProxyCommand=x", "bundle"], "-o"),
        (["--", "-oProxyCommand=x", "bundle"], "is no board"),
        (["a", "a", "bundle"], "named twice"),
        (["a", "b", "bundle", "--out", "x.json"], "put {board} into the name"),
        (["a", "nowhere"], "not a bundle"),
        (["a", "b", "--ssh-options", "'"], "--ssh-options"),
        (["a", "b", "--out", "."], "cannot write"),
        (["--inventory", "nowhere.toml", "b"], "nowhere.toml"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
