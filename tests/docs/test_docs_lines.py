"""The lines that the documentation explains are lines that the program says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guide" / "troubleshooting.md"
ROW = re.compile(r"^\| `([^`]+)`", re.MULTILINE)


def said() -> list[str]:
    """Every string of the program; what is put in when it runs is left out of it."""
    found = []
    for package in ("jetson", "calibration", "toolkit"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("\0".join(v.value if isinstance(v, ast.Constant) else "" for v in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*?".join(re.escape(part.strip()) for part in line.split("...")), re.DOTALL)


@pytest.mark.slow
def test_lines_that_are_explained_are_said() -> None:
    strings, lines = said(), ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(lines) > 20
    assert [line for line in lines if not any(map(pattern(line).search, strings))] == []
    assert not any(map(pattern("the budget is out of ... cheese").search, strings))
