"""What info, profile and run print, and how the command ends."""

import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jetson import Bundle, LatencyProfile
from jetson.profiling.profile import LEVELS
from tests.bundles import edit_manifest, fake_profile, tiny_bundle
from toolkit.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]
PROFILE = "profile bundle --rounds 5 --warm-up 1 --out new.json"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a bundle, its profile, frames and a budget trace, to work in."""
    bundle = tiny_bundle(tmp_path / "bundle")
    fake_profile(bundle).save(tmp_path / "profile.json")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "frames.npz", images=rng.integers(0, 256, (6, 8, 8), dtype=np.uint8), labels=np.arange(6) % 3)
    (tmp_path / "trace.csv").write_text(
        "t_ms,budget_ms,revise_at_ms,revised_ms\n0,1000,,\n1,inf,,\n2,0,,\n3,0.001,0,1000\n3,1000,0,0\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, words):
    """Run a command that works; gives its stdout and stderr."""
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err


def refuse(literal):
    raise AssertionError(f"{literal} is not JSON")


def lines(text):
    """A JSON value per line, as a strict reader reads it."""
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_without_a_word_the_help_comes(capsys):
    assert run(capsys, "") == run(capsys, "--help")
    assert all(name in run(capsys, "-h")[0] for name in COMMANDS)
    assert run(capsys, "--version")[0].startswith("offramp, version ")


def test_info_shows_units_and_exits(here, capsys):
    out, err = run(capsys, "info bundle")
    assert err == "" and "bundle: classification, 3 outputs, frames resized to 8x8x1" in out
    for word in ("segment-1", "branch-4-vit", "head", "2:cnn-add", "50.0 [45.0, 55.0] n=100", "1.0e-06"):
        assert word in out
    assert "\x1b" not in out


def test_info_as_data_is_the_manifest(here, capsys):
    (data,) = lines(run(capsys, "info bundle --json")[0])
    manifest = Bundle.open("bundle").manifest
    assert data["identity"] == manifest.identity and data["path"] == "bundle"
    assert [u["name"] for u in data["units"]] == [u.name for u in manifest.units]
    assert data["exits"][0]["quality"][0]["value"] == 0.5


def test_info_of_a_regression(here, capsys):
    tiny_bundle(here / "counting", task="regression", outputs=1)
    out, _ = run(capsys, "info counting")
    assert "mean abs error" in out and "2.000 [1.950, 2.050] n=100" in out


@pytest.mark.parametrize("name", ["[bold]x", "[/]", "x\\[red]", ":smile:", "\x1b[31mred", "é"])
def test_names_are_shown_as_they_are(here, capsys, name):
    """What a bundle says is text, not markup."""
    bundle = tiny_bundle(here / "other", exits=((1, "mlp"), (2, "head")))

    def rename(manifest):
        manifest["exits"][0]["name"] = name
        for exit_ in manifest["exits"]:
            exit_["quality"][1]["split"] = name

    edit_manifest(bundle.path, rename)
    out, _ = run(capsys, "info other")
    shown = name.replace("\x1b", "")
    assert out.count(shown) >= 2


def test_profile_writes_what_it_shows(here, capsys):
    out, err = run(capsys, PROFILE)
    profile = LatencyProfile.load("new.json")
    assert profile.units["head"].host_ms.n == 10 and profile.bundle == Bundle.open("bundle").manifest.identity
    for word in ("segment-1", "branch-2-mlp", "6:head", "(preprocessing)", "p99.9"):
        assert word in out
    assert err.splitlines() == ["profiling bundle ...", f"{profile.frames} inferences -> new.json"]


def test_profile_as_data_is_the_profile(here, capsys):
    (data,) = lines(run(capsys, f"{PROFILE} --json --frame-size 12x16")[0])
    assert data == json.loads(Path("new.json").read_text())
    assert data["frame"] == [12, 16] and data["levels"] == list(LEVELS)
    assert data["units"]["head"]["gpu_ms"] is None


def test_a_profile_just_made_is_taken_by_run(here, capsys):
    run(capsys, PROFILE)
    out, _ = run(capsys, "run bundle --profile new.json --data frames.npz --budget-ms 1000 --json")
    assert lines(out)[-1]["summary"]["frames"] == 6


def test_run_prints_a_line_per_frame_and_a_summary(here, capsys):
    out, _ = run(capsys, "run bundle --profile profile.json --data frames.npz --budget-ms 1000 --json")
    *frames, last = lines(out)
    assert [f["frame"] for f in frames] == list(range(6)) and last["summary"]["frames"] == 6
    assert [f["target"] for f in frames] == [0, 1, 2, 0, 1, 2]
    for frame in frames:
        assert frame["exit_name"] == "6:head" and frame["met_deadline"] is True and frame["feasible"] is True
        assert frame["correct"] is (frame["class"] == frame["target"]) and frame["label"] == f"class {frame['class']}"
        assert 1 / 3 <= frame["confidence"] <= 1 and frame["budget_ms"] == pytest.approx(1000)
    assert last["summary"]["accuracy"] == np.mean([f["correct"] for f in frames])
    assert last["summary"]["miss_rate"] == 0.0 and last["summary"]["exits"] == {"6:head": 6}


def test_run_follows_a_trace_with_revisions_and_endless_budgets(here, capsys):
    out, _ = run(capsys, "run bundle --profile profile.json --data frames.npz --budget-trace trace.csv --json")
    *frames, last = lines(out)
    assert [f["met_deadline"] for f in frames[:3]] == [True, None, False]
    assert frames[1]["budget_ms"] is None and frames[1]["feasible"] is None and frames[2]["budget_ms"] == 0.0
    assert all(f["met_deadline"] is (f["elapsed_ms"] <= f["budget_ms"]) for f in frames if f["budget_ms"] is not None)
    assert last["summary"]["late"] == sum(f["met_deadline"] is False for f in frames)
    assert all(b["t_ms"] >= a["t_ms"] for a, b in itertools.pairwise(frames))


def test_run_records_the_lines_it_would_print(here, capsys):
    words = "run bundle --profile profile.json --data frames.npz --budget-ms 1000 --record deep/frames.jsonl --json"
    out, _ = run(capsys, words)
    assert Path("deep/frames.jsonl").read_text() == out


def test_run_shows_a_table_of_the_exits(here, capsys):
    out, err = run(capsys, "run bundle --profile profile.json --data frames.npz --budget-ms 1000 --frames 4")
    assert "6:head" in out and "100.0 %" in out and "4 frames: acc@D " in out and "0 late" in out
    assert err.splitlines() == ["answering (4) ..."]


def test_run_answers_more_frames_than_there_are_images(here, capsys):
    out, _ = run(capsys, "run bundle --profile profile.json --data frames.npz --budget-ms 1e6 --frames 8 --json")
    assert [f.get("target") for f in lines(out)][:-1] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_labels_of_another_task_are_not_judged(here, capsys):
    images = np.zeros((2, 8, 8), np.uint8)
    for name, extra in (("high", {"labels": np.array([0, 7])}), ("values", {"targets": np.array([0.5, 1.5])})):
        np.savez(here / f"{name}.npz", images=images, **extra)
        out, err = run(capsys, f"run bundle --profile profile.json --data {name}.npz --budget-ms 1000 --json")
        assert "answers are not judged" in err
        assert lines(out)[-1]["summary"]["acc_at_d"] is None and lines(out)[0]["correct"] is None


def test_run_of_a_regression(here, capsys):
    bundle = tiny_bundle(here / "counting", task="regression", outputs=2)
    fake_profile(bundle).save(here / "counting.json")
    np.savez(here / "values.npz", images=np.zeros((2, 8, 8), np.uint8), targets=np.zeros((2, 2)))
    words = "run counting --profile counting.json --data values.npz --budget-ms 1000"
    *frames, last = lines(run(capsys, f"{words} --json")[0])
    assert all(f["class"] is f["confidence"] is f["correct"] is None and len(f["value"]) == 2 for f in frames)
    assert last["summary"]["mean_absolute_error"] == pytest.approx(np.mean(np.abs([f["value"] for f in frames])))
    assert "mean abs error" in run(capsys, words)[0]


def test_a_figure_that_is_no_number_is_never_printed_as_json(here, monkeypatch):
    monkeypatch.setattr("toolkit.cli.info.describe", lambda _bundle: {"a": math.nan})
    with pytest.raises(ValueError, match="not JSON compliant"):
        main(["info", "bundle", "--json"])


def offramp(*words, cwd, **environment):
    inherited = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE")}
    env = {**inherited, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit", *words], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("words", [["--help"], ["info", "bundle"], ["info", "bundle", "--json"]])
def test_a_reader_that_goes_away_is_no_error(here, words):
    process = offramp(*words, cwd=here)
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(), errors) == (0, b"")


@pytest.mark.parametrize(
    ("environment", "styled"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True)],
)
def test_styles_are_for_terminals_and_colours_can_be_refused(here, environment, styled):
    out, _ = offramp("info", "bundle", cwd=here, **environment).communicate()
    codes = set(re.findall(rb"\x1b\[([\d;]+)m", out))
    assert bool(codes) is styled
    if "NO_COLOR" in environment:
        assert codes <= {b"0", b"1", b"3"}  # bold and italic are no colours


def test_a_terminal_that_knows_ascii_only_is_served(here):
    edit_manifest(here / "bundle", lambda m: m["exits"][0].update(name="größe"))
    process = offramp("info", "bundle", cwd=here, PYTHONIOENCODING="ascii")
    out, err = process.communicate()
    assert process.returncode == 0 and err == b"" and rb"gr\xf6\xdfe" in out


WAITING = """
import sys, time
from pathlib import Path
import click
import toolkit.cli.info
from jetson.files import new_folder
from toolkit.cli import main
@click.command("info")
@click.argument("bundle")
def command(bundle):
    with new_folder(Path("made")) as folder:
        (folder / "half").write_text("x")
        print("ready", flush=True)
        time.sleep(60)
toolkit.cli.info.command = command
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(signal.SIGTERM, 143, b"offramp info: terminated\n"), (signal.SIGINT, 130, b"offramp info: interrupted\n")],
)
def test_a_command_that_is_stopped_says_so_and_leaves_nothing(here, number, code, says):
    before = sorted(p.name for p in here.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, "info", "bundle"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (code, says)
    assert sorted(p.name for p in here.iterdir()) == before


def test_a_command_leaves_the_signals_of_its_caller_as_they_were(here, capsys):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(capsys, "info bundle")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
