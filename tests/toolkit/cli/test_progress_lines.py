"""Progress for programs."""

from __future__ import annotations

import json

import pytest

from toolkit.cli import progress_lines
from toolkit.cli.console import progress_bars, progress_share


@pytest.fixture
def lines(monkeypatch, capsys):
    monkeypatch.setenv("OFFRAMP_PROGRESS", "json")
    monkeypatch.setattr(progress_lines, "APART_S", 0.0)

    def read():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_a_share(lines) -> None:
    with progress_share("profiling bundle") as told:
        told(0.25)
        told(1.0)
    assert [line["share"] for line in lines()] == [0.0, 0.25, 1.0]


def test_parts(lines) -> None:
    with progress_bars() as begin:
        done = begin("exporting", 2)
        done()
        done()
    assert [(line["progress"], line["share"]) for line in lines()] == [
        ("exporting", 0.0),
        ("exporting", 0.5),
        ("exporting", 1.0),
    ]


def test_lines_about_the_same_keep_their_distance(lines, monkeypatch) -> None:
    monkeypatch.setattr(progress_lines, "APART_S", 1000.0)
    with progress_share("profiling another bundle") as told:
        for number in range(1, 101):
            told(number / 100)
    assert [line["share"] for line in lines()] == [0.0, 1.0]


def test_without_the_variable_there_are_words(capsys) -> None:
    with progress_share("profiling bundle") as told:
        told(0.5)
    assert capsys.readouterr().err == "profiling bundle ...\n"
