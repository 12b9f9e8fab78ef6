"""The tutorial, followed once for all tests that look at what it left."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs import tutorial
from tests.docs.warm import Warm


class Followed(NamedTuple):
    """Where the tutorial led, and what every command of it printed."""

    folder: Path
    done: list[tuple[str, subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def followed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = tmp_path_factory.mktemp("tutorial")
    done: list[tuple[str, subprocess.CompletedProcess[str]]] = []
    for step in tutorial.steps(tutorial.PAGE.read_text(encoding="utf-8")):
        if step.command is None:
            assert step.file is not None
            (folder / step.file).write_text(step.content, encoding="utf-8")
            continue
        words = shlex.split(step.command, comments=True)
        if words[0] == "cd":
            folder = folder / words[1]
            continue
        if words[0] in ("offramp", "python"):
            ran = warm.run(words, folder)
        else:
            assert shutil.which(words[0])
            ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        done.append((step.command, ran))
        if ran.returncode:
            break
    return Followed(folder, done)
