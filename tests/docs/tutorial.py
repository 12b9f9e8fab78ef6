"""The tutorial's page as what a reader does: files to write and commands to type, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^(?:<!-- (not run by the test): [^\n]+ -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """A command to type, or a file to write."""

    command: str | None
    file: str | None = None
    content: str = ""


def steps(page: str) -> list[Step]:
    """What a reader does, but for the blocks that say that the test leaves them out."""
    found = []
    for left_out, kind, body in BLOCK.findall(page):
        if left_out or kind == "text":
            continue
        if kind == "sh":
            found += [Step(line) for line in body.replace("\\\n", " ").splitlines() if line.strip()]
        else:
            name = re.match(r"# (\w+\.py)\n", body)
            assert kind == "python" and name is not None, f"a block that is neither typed nor written: {body[:60]}"
            found.append(Step(None, name[1], body))
    return found


def left_out(page: str) -> list[str]:
    """The commands that the test does not run."""
    return [body for mark, kind, body in BLOCK.findall(page) if mark and kind == "sh"]
