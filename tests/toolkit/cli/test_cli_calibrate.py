"""`offramp calibrate` and the options of int8, as typed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jetson import Bundle, LatencyProfile
from tests.toolkit.building import tree
from tests.toolkit.pictures import pictures
from toolkit.cli import main

ROOT = Path(__file__).resolve().parents[3]
INT8 = "calibrate bundle --data site --precision int8 --int8-method minmax --max-drop 1"
PROFILE = "profile bundle --rounds 2 --warm-up 0"


@pytest.fixture
def here(sites, tmp_path, monkeypatch):
    """A folder with a bundle and data for it, to work in."""
    shutil.copytree(sites / "bundle", tmp_path / "bundle")
    shutil.copytree(sites / "site", tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, words):
    """Run a command that works; gives its stdout and stderr."""
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err


def fails(capsys, words):
    """Run a command that cannot work; gives its last line."""
    before = tree(Path.cwd())
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and tree(Path.cwd()) == before
    return err.splitlines()[-1]


def test_it_tells_its_progress_and_shows_the_bundle(here, capsys):
    out, err = run(capsys, "calibrate bundle --data site")
    assert "accuracy %, select" in out and "6:head" in out
    assert [line.partition(" (")[0] for line in err.splitlines()] == [
        "exits on fit frames",
        "exits on select frames",
        "exits on test frames",
    ]


def test_as_data_it_is_the_manifest(here, capsys):
    out, _ = run(capsys, f"{INT8} --calibration-frames 33 --json")
    said = json.loads(out)
    record = said["bundle"]["quantisation"]
    assert (record["frames"], record["method"], record["max_drop"]) == (33, "minmax", 1.0)
    assert said["remarks"] == [] and set(said["bundle"]["exits"][0]["variant_quality"]) == {"int8", "int8-fp16"}
    assert said["bundle"]["identity"] == Bundle.open("bundle").manifest.identity


def test_from_int8_to_a_plan_and_an_answer(here, capsys):
    run(capsys, INT8)
    for precision in ("fp32", "int8"):
        run(capsys, f"{PROFILE} --precision {precision} --out {precision}.json")
    _, err = run(capsys, "calibrate bundle --profile fp32.json --profile int8.json")
    assert err.startswith("onnxruntime: ")
    plan = Bundle.open("bundle").manifest.plans["onnxruntime"]
    run(capsys, f"{PROFILE} --out plan.json")
    assert tuple(u.precision for u in LatencyProfile.load("plan.json").units.values()) == plan
    np.save("frames.npy", pictures(2))
    for profile in ("plan", "int8", "fp32"):
        out, _ = run(capsys, f"run bundle --profile {profile}.json --data frames.npy --budget-ms 1000 --json")
        assert json.loads(out.splitlines()[-1])["summary"]["frames"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("calibrate", "Missing argument 'BUNDLE'"),
        ("calibrate bundle", "nothing to do: give --data to calibrate with, or --profile to choose precisions by"),
        ("calibrate nothing --data site", "nothing: not a bundle (there is no such folder)"),
        ("calibrate bundle --data nothing", "'nothing': no such file or folder, and no data set of that name"),
        ("calibrate bundle --data site --precision int9", "'int9' is not a list of precisions"),
        ("calibrate bundle --data site --precision fp16", "calibrate makes int8 and int8-fp16 only"),
        ("calibrate bundle --data site --quality-frames 5", "--quality-frames 5: to learn how sure"),
        ("calibrate bundle --data site --max-drop 0.1", "say how int8 is made: give --precision int8 too"),
        ("calibrate bundle --data site --calibration site", "say how int8 is made: give --precision int8 too"),
        ("calibrate bundle --data site --precision int8 --max-drop 2", "--max-drop 2.0: must lie between 0 and 1"),
        ("calibrate bundle --data site --precision int8 --max-drop x", "Invalid value for '--max-drop'"),
        ("calibrate bundle --data site --precision int8 --calibration-frames 9", "int8 takes 32 at least"),
        ("calibrate bundle --data site --precision int8 --int8-method kl", "--int8-method kl: the methods are minmax"),
        ("calibrate bundle --precision int8", "nothing to do"),
        ("calibrate bundle --profile site", "site: no such profile; make one with: offramp profile"),
        ("calibrate bundle --profile bundle/manifest.json", "not an Offramp profile"),
        ("build checkpoint --out new --max-drop 0.1", "say how int8 is made: give --precision int8 too"),
        ("build checkpoint --out new --precision int8 --int8-method kl", "--int8-method kl: the methods are minmax"),
        ("build checkpoint --out new --precision int8 --calibration-frames 0", "int8 takes 32 at least"),
    ],
)
def test_what_a_user_types_wrong_is_one_line(here, capsys, words, says):
    said = fails(capsys, words)
    assert said.startswith(f"offramp {words.split()[0]}: ") and says in said


def test_a_full_disk_is_one_line(here, capsys, monkeypatch):
    def full(_handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("jetson.files.os.fsync", full)
    assert "the disk is full; free some space" in fails(capsys, "calibrate bundle --data site")
    assert sorted(p.name for p in here.iterdir()) == ["bundle", "site"]


def python(script, *words):
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


HEAVY = ("torch", "transformers", "accelerate", "safetensors", "onnxscript", "sklearn")
WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError("blocked by the test", name=name)
sys.meta_path.insert(0, Blocker())
from toolkit.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_it_needs_no_pytorch(here):
    """Nor what only training needs."""
    done = python(WITHOUT, " ".join(HEAVY), *INT8.split())
    assert done.returncode == 0, done.stderr
    assert Bundle.open("bundle").manifest.quantisation is not None


def test_a_plan_needs_what_a_board_has_and_the_rest_names_what_is_missing(here, capsys):
    run(capsys, f"{PROFILE} --out fp32.json")
    gone = " ".join((*HEAVY, "scipy", "onnx", "PIL"))
    done = python(WITHOUT, gone, "calibrate", "bundle", "--profile", "fp32.json")
    assert done.returncode == 0 and set(Bundle.open("bundle").manifest.plans) == {"onnxruntime"}, done.stderr
    before = tree(here)
    done = python(WITHOUT, gone.replace("PIL", ""), *INT8.split())
    assert done.returncode == 2 and "is not installed: pip install 'offramp[host]'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and tree(here) == before


STOPPED = """
import sys
import toolkit.judge
from toolkit.cli import main
def stop(*_):
    raise KeyboardInterrupt
toolkit.judge.collect_outputs = stop
sys.exit(main(sys.argv[1:]))
"""


def test_a_command_that_is_stopped_leaves_the_old_bundle(here):
    before = tree(here)
    done = python(STOPPED, "calibrate", "bundle", "--data", "site")
    assert done.returncode == 130 and done.stderr.splitlines()[-1] == "offramp calibrate: interrupted"
    assert tree(here) == before and sorted(p.name for p in here.iterdir()) == ["bundle", "site"]
