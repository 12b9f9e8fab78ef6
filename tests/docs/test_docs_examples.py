"""Every example runs as a user runs it, and prints what one wants to see; the tutorial's model serves two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.conftest import Followed
from tests.docs.warm import Warm

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))
MODEL = ("--bundle", "bundle", "--profile", "profile.json")


def run(warm: Warm, folder: Path, name: str, *words: str) -> list[str]:
    """The lines that an example printed."""
    script = next(path for path in EXAMPLES if path.stem == name)
    done = warm.run(["python", str(script), *words], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_tells_how_it_is_used(example: Path, warm: Warm, tmp_path: Path) -> None:
    done = warm.run(["python", str(example), "--help"], tmp_path)
    assert done.returncode == 0 and f"python examples/{example.name}" in done.stdout, done.stderr


@pytest.mark.slow
def test_images_are_classified(followed: Followed, warm: Warm) -> None:
    lines = run(warm, followed.folder, "image_classification", *MODEL)
    answers = [line for line in lines if " ms: " in line]
    assert len(answers) == 9
    assert "@" in "".join(lines)
    lines = run(warm, followed.folder, "image_classification", *MODEL, "--budget-ms", "5,50")
    assert sum(" ms: " in line for line in lines) == 6


@pytest.mark.slow
def test_a_missing_model_is_one_line(warm: Warm, tmp_path: Path) -> None:
    for name in ("image_classification", "fps_loop"):
        script = next(path for path in EXAMPLES if path.stem == name)
        done = warm.run(["python", str(script)], tmp_path)
        assert done.returncode == 1 and done.stdout == ""
        assert len(done.stderr.splitlines()) == 1 and "no such profile" in done.stderr


@pytest.mark.slow
def test_a_loop_keeps_its_frame_rate(followed: Followed, warm: Warm) -> None:
    lines = run(warm, followed.folder, "fps_loop", *MODEL, "--seconds", "1.1")
    seconds = [line for line in lines if " fps " in line]
    assert seconds and "1:mlp" in seconds[0]


@pytest.mark.slow
def test_things_are_counted(warm: Warm, tmp_path: Path) -> None:
    tiny = ("--depth", "2", "--epochs", "1", "--limit", "200", "--images", "4")
    lines = run(warm, tmp_path, "counting", "--out", "a folder", *tiny)
    assert sum(" on the canvas, counted " in line for line in lines) == 4
    assert any(" give or take " in line for line in lines)


@pytest.mark.slow
def test_a_model_of_ones_own_gets_exits(warm: Warm, tmp_path: Path) -> None:
    lines = run(warm, tmp_path, "own_backbone", "--exits", "1:mlp", "--epochs", "1")
    assert [line.split()[2] for line in lines if line.startswith("$ offramp")] == [
        *("import", "train", "build", "profile", "run")
    ]
    assert lines[-1].startswith("300 frames: acc@D")


@pytest.mark.slow
def test_a_cnn_of_ones_own_gets_exits(warm: Warm, tmp_path: Path) -> None:
    lines = run(warm, tmp_path, "own_cnn", "--epochs", "1")
    assert lines[-1].startswith("300 frames: acc@D")
