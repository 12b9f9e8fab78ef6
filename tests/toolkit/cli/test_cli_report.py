"""`offramp report` as it is typed, rightly and wrongly."""

import json
import os
import webbrowser

import pytest

from tests.toolkit.report.conftest import Recipe, write_run
from tests.toolkit.report.records import powered
from toolkit.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = write_run(tmp_path / "run", Recipe(frames=12, history=False))
    powered(made, "orin.json", power_w=9.5, power_mode="15W")
    return made


def test_a_folder_and_files_by_name(run, capsys):
    assert main(["report", "run"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "report -> run/report.html" in err
    words = "report --bundle run/bundle --profile run/profile.json --profile run/orin.json --frames run/frames.jsonl"
    assert main([*words.split(), "--out", "both.html"]) == 0
    page = (run.parent / "both.html").read_text()
    assert "15W" in page and 'id="frames"' in page and 'id="plan"' in page
    assert main(["report", "--profile", "run/orin.json"]) == 0
    assert 'id="plan"' not in (run.parent / "report.html").read_text()


def test_json_writes_no_page(run, capsys):
    assert main(["report", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"][0]["frames"] == 12 and found["bundle"]["task"] == "classification"
    assert not (run / "report.html").exists()
    assert main(["report", "run", "--json", "--out", "page.html"]) == 0
    assert (run.parent / "page.html").exists()


@pytest.mark.parametrize("there", [True, False])
def test_open_shows_it_where_there_is_a_browser(run, capsys, monkeypatch, there):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: asked.append(uri) or there)
    assert main(["report", "run", "--open"]) == 0
    assert asked == [(run / "report.html").as_uri()]
    assert ("no browser to be found here; open run/report.html" in capsys.readouterr().err) is not there


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "nothing to report; name a run's folder, or --bundle, --profile or --frames"),
        ("nowhere", "nowhere: not a run (there is no such folder)"),
        ("run --profile nowhere.json", "nowhere.json: no such profile"),
        ("run --profile run/frames.jsonl", "run/frames.jsonl: "),
        ("run --frames run/profile.json", "run/profile.json, line 1: not a frame"),
        ("run --frames nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("--bundle run/profile.json", "run/profile.json"),
        ("--bundle cut", "cut"),
        ("--frames cut.jsonl", "cut.jsonl, line 2: not a frame"),
        ("run --out run", "run"),
    ],
)
def test_what_cannot_be_used_is_one_line(run, capsys, words, says):
    whole = (run / "frames.jsonl").read_bytes()
    (run.parent / "cut.jsonl").write_bytes(whole[: whole.index(b"\n") + 100])
    (run.parent / "cut").mkdir()
    (run.parent / "cut" / "manifest.json").write_bytes((run / "bundle" / "manifest.json").read_bytes()[:400])
    assert main(["report", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and err.count("\n") == 1
    assert not list(run.parent.rglob("*.html"))


def test_a_file_whose_name_is_no_text(run, capsys):
    (run / "frames.jsonl").rename(os.fsdecode(os.fsencode(run) + b"/frames-\xff<b>.jsonl"))
    assert main(["report", "run"]) == 0
    page = (run / "report.html").read_text()
    assert "&lt;b&gt;" in page and "<b>.jsonl" not in page
