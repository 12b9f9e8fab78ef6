"""The tutorial, typed as it is printed."""

from __future__ import annotations

import json

import pytest

from tests.docs import tutorial
from tests.docs.conftest import Followed


@pytest.mark.slow
def test_every_command_of_the_tutorial_works_as_printed(followed: Followed) -> None:
    failed = [(command, ran.stdout, ran.stderr) for command, ran in followed.done if ran.returncode]
    assert failed == []
    typed = [step.command for step in tutorial.steps(tutorial.PAGE.read_text(encoding="utf-8")) if step.command]
    assert [command for command, _ in followed.done] == [command for command in typed if not command.startswith("cd ")]


@pytest.mark.slow
def test_the_tutorial_leaves_what_it_says(followed: Followed) -> None:
    lines = (followed.folder / "frames.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 301
    assert sum(json.loads(lines[-1])["summary"]["exits"].values()) == 300
    assert "<html" in (followed.folder / "report.html").read_text(encoding="utf-8")
    said = dict(followed.done)["python answer.py"].stdout.splitlines()
    assert len(said) == 3 and all(" sure, from " in line for line in said)


def test_only_installing_is_left_out_of_the_tutorials_test() -> None:
    commands = [line for body in tutorial.left_out(tutorial.PAGE.read_text(encoding="utf-8")) for line in body.split()]
    assert commands[:3] == ["python3", "-m", "venv"] and "offramp" not in commands


def test_the_tutorials_blocks_are_read() -> None:
    page = (
        "```sh\nofframp a \\\n  b\nls\n```\n"
        "<!-- not run by the test: why -->\n```sh\npip c\n```\n```python\n# d.py\ne\n```\n"
    )
    assert [step.command for step in tutorial.steps(page)] == ["offramp a    b", "ls", None]
    assert tutorial.steps(page)[2].file == "d.py" and tutorial.left_out(page) == ["pip c\n"]
