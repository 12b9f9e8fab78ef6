"""--json: on stdout JSON and nothing else, whatever the command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jetson.samples import Samples
from tests.bundles import fake_profile, tiny_bundle
from toolkit.cli import COMMANDS, cli, main
from toolkit.cli.group import key, options

ELSEWHERE = {
    "train": "tests/toolkit/training/test_training_cli.py",
    "build": "tests/toolkit/test_cuts.py",
    "calibrate": "tests/toolkit/cli/test_cli_calibrate.py",
    "import": "tests/toolkit/cli/test_cli_import.py",
    "serve": "tests/toolkit/cli/test_cli_serve.py",
    "report": "tests/toolkit/report/test_report_page.py",
}
"""Commands that need a model or take seconds, and the file whose tests read their JSON."""
RUNS = {
    "info": "info bundle",
    "profile": "profile bundle --rounds 3 --warm-up 0 --out new.json",
    "run": "run bundle --profile profile.json --data frames.npy --budget-ms 1000",
    "plan": "plan bundle --profile profile.json --budget-ms 5",
    "simulate": "simulate bundle --profile profile.json --scenario idle --frames 50 --policy deepest-p95",
    "suggest": "suggest bundle --profile profile.json --exits 1",
    "engines": "engines --list",
    "doctor": "doctor",
    "completion": "completion zsh",
    "config": "config",
    "version": "version",
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    outputs = np.random.default_rng(0).normal(0.0, 1.0, (40, 4, 3)).astype(np.float32)
    samples = {role: Samples.of(outputs, outputs[:, 3].argmax(axis=1), [1.5] * 4) for role in ("fit", "select", "test")}
    bundle = tiny_bundle(folder / "bundle", samples=samples)
    fake_profile(bundle, spread=0.1).save(folder / "profile.json")
    np.save(folder / "frames.npy", np.zeros((3, 8, 8), np.uint8))
    return folder


@pytest.fixture
def here(shelf, tmp_path, monkeypatch):
    shutil.copytree(shelf, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "numba", None)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_it(name):
    found = {key(option): option for option in options(cli.get_command(None, name))}
    assert "json" in found and found["json"].is_flag, f"offramp {name} has no --json: toolkit.cli.options.JSON"


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_stdout_holds_json_alone(here, capsys, words):
    assert main([*words.split(), "--json"]) == 0
    out = capsys.readouterr().out
    assert out and [json.loads(line) for line in out.splitlines()] and "NaN" not in out


def test_the_others_are_tested_elsewhere():
    root = Path(__file__).parents[3]
    assert all("--json" in (root / file).read_text() for file in ELSEWHERE.values())


@pytest.mark.parametrize("words", ["info nothing --json", "run bundle --json", "--color pink version --json"])
def test_an_error_is_no_json_on_stdout(here, capsys, words):
    """Whoever reads stdout finds results there or nothing; what is wrong is on stderr, as ever."""
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("offramp")


def test_an_error_is_json_on_stderr_when_asked_for(here, capsys):
    assert main(["--log-format", "json", "info", "nothing", "--json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(err)
    assert out == "" and (error["level"], error["command"], error["exit_code"]) == ("error", "info", 2)
    assert error["message"].startswith("nothing: not a bundle") and error["time"]


def test_the_demos_steps_print_to_stderr(tmp_path, capsys, monkeypatch):
    run = tmp_path / "demo"

    def step(command, check, env, stdout):
        assert stdout is sys.stderr and env["OFFRAMP_LOG_LEVEL"] == "info"
        if "run" in command:
            (run / "frames.jsonl").write_text('{"frame": 0}\n{"summary": {"frames": 1}}\n')
        return SimpleNamespace(returncode=0)

    run.mkdir()
    monkeypatch.setattr("toolkit.cli.demo.subprocess", SimpleNamespace(run=step))
    monkeypatch.setattr("toolkit.cli.demo._write_trace", lambda *_: None)
    assert main(["-v", "demo", "--out", str(run), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["summary"] == {"frames": 1} and found["report"] == str(run / "report.html")
    assert err.count("$ offramp ") == 5


def test_version_imports_nothing_heavy(tmp_path):
    script = "import sys; from toolkit.cli import main; main(['version', '--json']); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    versions, modules = done.stdout.splitlines()
    assert {"offramp", "python", "numpy", "onnxruntime", "tensorrt"} <= set(json.loads(versions))
    assert not {"torch", "onnxruntime", "tensorrt", "transformers"} & set(modules.split("'"))
