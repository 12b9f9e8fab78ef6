"""Nothing that a command runs tells anybody anything. tests/test_demo.py sees to train, build, run and report."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from jetson.samples import Samples
from tests.bundles import fake_profile, tiny_bundle
from tests.conftest import environment
from tests.network import reached, watched
from toolkit.cli import main
from toolkit.cli.quiet import TOLD_TO_BE_SILENT

COMMANDS = (
    "version",
    "config",
    "doctor",
    "info bundle",
    "profile bundle --rounds 3 --warm-up 0 --out new.json",
    "run bundle --profile profile.json --data frames.npy --budget-ms 1000",
    "plan bundle --profile profile.json",
    "simulate bundle --profile profile.json --scenario idle --frames 20 --policy alert",
    "suggest bundle --profile profile.json --exits 1",
    "engines --list",
    "completion zsh",
)
SCRIPT = """
import sys
sys.modules["numba"] = None
from toolkit.cli import main
for words in sys.argv[1:]:
    assert main(words.split()) == 0, words
"""


def python(folder, *words):
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=watched(folder, environment()), capture_output=True, text=True)


def test_the_hook_sees_and_refuses(tmp_path):
    done = python(tmp_path, "-c", "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')")
    assert "forbidden by the test" in done.stderr
    assert reached(tmp_path) == (1, ["REACHED socket.getaddrinfo 192.0.2.1"])


def test_no_command_speaks_to_anybody(tmp_path):
    outputs = np.random.default_rng(0).normal(0.0, 1.0, (40, 4, 3)).astype(np.float32)
    samples = {role: Samples.of(outputs, outputs[:, 3].argmax(axis=1), [1.5] * 4) for role in ("fit", "select", "test")}
    bundle = tiny_bundle(tmp_path / "bundle", samples=samples)
    fake_profile(bundle, spread=0.1).save(tmp_path / "profile.json")
    np.save(tmp_path / "frames.npy", np.zeros((3, 8, 8), np.uint8))
    done = python(tmp_path, "-c", SCRIPT, *COMMANDS)
    assert done.returncode == 0, done.stderr
    began, tried = reached(tmp_path)
    assert began >= 1 and tried == []


def test_packages_that_report_are_told_not_to(monkeypatch):
    for name in TOLD_TO_BE_SILENT:
        monkeypatch.setenv(name, "0")
    assert main(["version", "-q"]) == 0
    assert all(os.environ[name] == "1" for name in TOLD_TO_BE_SILENT)


def test_onnx_runtime_is_imported_in_one_place_that_silences_it(tmp_path):
    root = Path(__file__).parents[3]
    importing = [p for f in ("jetson", "calibration") for p in (root / f).rglob("*.py") if imports(p)]
    assert importing == [root / "jetson" / "quiet.py"]
    bundle = tiny_bundle(tmp_path / "bundle")
    (tmp_path / "home").mkdir()
    script = "import sys, jetson; jetson.Runtime.load(sys.argv[1]).close()"
    clean = {k: v for k, v in environment().items() if k not in {*TOLD_TO_BE_SILENT, "CI", "XDG_CACHE_HOME"}}
    words = [sys.executable, "-c", script, str(bundle.path)]
    subprocess.run(words, env={**clean, "HOME": str(tmp_path / "home")}, check=True)
    assert list((tmp_path / "home").iterdir()) == []  # it keeps what it has to report in a database


def imports(path):
    return any(line.strip().startswith("import onnxruntime") for line in path.read_text().splitlines())
