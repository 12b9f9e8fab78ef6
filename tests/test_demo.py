"""The demo, and the README's commands on what it leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jetson import Bundle, LatencyProfile
from tests.browser import ARGUMENTS, NO_BROWSER, find_browser
from tests.conftest import offramp
from tests.network import reached
from toolkit.cli import main

pytestmark = pytest.mark.slow
Demo = tuple[Path, subprocess.CompletedProcess[str]]
README = Path(__file__).parents[1] / "README.md"
KEPT = ("checkpoint", "bundle")
FRESH = ("profile.json", "budget.csv", "frames.jsonl", "report.html")
"""What a second demo leaves alone, and what it makes anew."""
ALONE = ("profile", "run")
"""A process sets ONNX Runtime's threads once."""


def frames_of(run: Path) -> tuple[list[dict], dict]:
    lines = [json.loads(line) for line in (run / "frames.jsonl").read_text().splitlines()]
    return lines[:-1], lines[-1]["summary"]


def test_demo_leaves_what_the_readme_promises(demo_run: Demo) -> None:
    run, done = demo_run
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for name in ("checkpoint", "bundle", "profile.json", "report.html"):
        assert (run / name).exists(), name
    for command in ("train", "build", "profile", "run", "report"):
        assert f"$ offramp {command} " in done.stdout


def test_nobody_is_told_anything(demo_run: Demo) -> None:
    """The demo and each of its five steps ran with every connection noted and refused."""
    began, tried = reached(demo_run[0].parents[1])
    assert began >= 6 and tried == []


def test_exits_are_accurate_and_equal_to_pytorch(demo_run: Demo) -> None:
    manifest = Bundle.open(demo_run[0] / "bundle").manifest
    test = {e.name: next(q for q in e.quality if q.split == "test") for e in manifest.exits}
    assert test[manifest.exits[-1].name].value >= 0.96
    assert all(q.value >= 0.75 and q.low < q.value < q.high for q in test.values())
    assert manifest.parity.frames == 100
    assert all(e.max_difference < 1e-4 for e in manifest.exits)


def test_every_frame_is_answered_and_lateness_is_told(demo_run: Demo) -> None:
    run, _ = demo_run
    manifest = Bundle.open(run / "bundle").manifest
    branches = {e.units[-1]: e.name for e in manifest.exits}
    frames, summary = frames_of(run)
    assert len(frames) == summary["frames"] == 300
    for frame in frames:
        ran = [branches[u["unit"]] for u in frame["units"] if u["unit"] in branches]
        assert frame["exit_name"] in ran
        assert frame["met_deadline"] == (frame["elapsed_ms"] <= frame["budget_ms"])
    assert summary["late"] == sum(not f["met_deadline"] for f in frames)
    budgets = [f["budget_ms"] for f in frames]
    medians = [e.end_to_end_ms.median for e in LatencyProfile.load(run / "profile.json").exits]
    assert min(budgets) == pytest.approx(min(medians), rel=0.02)
    assert max(budgets) == pytest.approx(2 * medians[-1], rel=0.02)
    assert len(summary["exits"]) > 1


def test_second_demo_does_only_what_is_left(
    demo_run: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same commands again over what the first one left: with a tenth of the time to profile, and PyTorch's here."""
    run = Path(shutil.copytree(demo_run[0], tmp_path / "demo"))
    made = {name: (run / name).stat().st_mtime_ns for name in FRESH}
    kept = {file: file.stat().st_mtime_ns for name in KEPT for file in (run / name).rglob("*")}
    asked: list[str] = []

    def here(command: list[str], check: bool, env: dict[str, str], stdout: None) -> SimpleNamespace:
        assert command[:3] == [sys.executable, "-m", "toolkit"] and not check and env["OFFRAMP_CONFIG"] == os.devnull
        words = ["1" if word == "10" else word for word in command[3:]]
        asked.append(shlex.join(command[3:]))
        return SimpleNamespace(returncode=offramp(*words).returncode if words[0] in ALONE else main(words))

    monkeypatch.setattr("toolkit.cli.demo.subprocess", SimpleNamespace(run=here))
    assert main(["demo", "--out", str(run)]) == 0
    out, err = capsys.readouterr()
    assert err.count("nothing to do") == 2
    first = [line[10:] for line in demo_run[1].stdout.splitlines() if line.startswith("$ offramp ")]
    assert asked == [line.replace(str(demo_run[0]), str(run)) for line in first] and len(asked) >= 5
    assert all(f"$ offramp {line}" in out for line in asked) and " --seconds 10 " in asked[2]
    assert {file: file.stat().st_mtime_ns for name in KEPT for file in (run / name).rglob("*")} == kept
    assert all((run / name).stat().st_mtime_ns > then for name, then in made.items())


def test_report_renders_in_a_browser(demo_run: Demo) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(ARGUMENTS))
        page = chromium.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((demo_run[0] / "report.html").as_uri())
        page.wait_for_selector("html[data-drawn]")
        assert page.locator(".plot svg:visible").count() >= 4
        assert "8:head" in page.content() or "head" in page.content()
        chromium.close()
    assert problems == []


def test_commands_of_the_readme_run_as_printed(
    demo_run: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but `pip install`; checkpoint and bundle are the demo's, made by the same commands with the same settings."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = [line.split("#")[0].split() for block in blocks for line in block.splitlines() if line]
    ours = [words[1:] for words in commands if words[0] == "offramp"]
    assert " ".join(words[0] for words in ours) == "train build info engines doctor profile run plan simulate"
    assert {words[0] for words in commands} == {"make", "pip", "offramp"}
    for name in ("checkpoint", "bundle"):
        shutil.copytree(demo_run[0] / name, tmp_path / name)
    make_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    for words in ours[:2]:  # the demo has started them as processes
        assert main(words) == 0
        assert "nothing to do" in capsys.readouterr().err
    for words in ours[2:]:
        done = offramp(*words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    assert main([*ours[3], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [(e["precision"], e["cached"]) for e in again["engines"]] == [("fp32", True), ("fp16", True)] * 8


def test_python_of_the_readme_runs_as_printed(demo_run: Demo, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(demo_run[0] / "bundle", tmp_path / "bundle")
    shutil.copy(demo_run[0] / "profile.json", tmp_path)
    script = "import numpy as np\nframe = np.zeros((480, 640, 1), np.uint8)\n" + snippet
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, confidence, exit_name, *_ = done.stdout.split()
    assert label in "0123456789" and 0 < float(confidence) <= 1 and ":" in exit_name


ANSWER_ALL = """
import sys
from jetson import Budget, Runtime
from toolkit import data

part = data.frames("digits", split="test")
for policy in sys.argv[2:]:
    runtime = Runtime.load(sys.argv[1] + "/bundle", sys.argv[1] + "/profile.json", policy=policy)
    answers = [runtime.infer(image, Budget.within(ms=1e4)) for image in part.images]
    assert all(a.met_deadline for a in answers)
    print(sum(a.class_index == t for a, t in zip(answers, part.targets)) / len(answers))
"""


def test_runtime_answers_the_demos_digits(demo_run: Demo) -> None:
    """The deepest exit as well as stated; the planner, which stops at an answer that is as sure, nearly so."""
    run, _ = demo_run
    exits = Bundle.open(run / "bundle").manifest.exits
    command = [sys.executable, "-c", ANSWER_ALL, str(run), f"static-{len(exits)}", "planner"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    static, planner = map(float, done.stdout.split())
    assert static == pytest.approx(exits[-1].quality[1].value, abs=1e-9)
    assert planner > static - 0.01


def make_photos(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(folder / f"{index}.png")
