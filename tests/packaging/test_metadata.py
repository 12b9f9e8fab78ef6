"""One version, told the same everywhere."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def version_in_setup() -> str:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"]
    return next(ast.literal_eval(keyword.value) for keyword in calls[0].keywords if keyword.arg == "version")


def test_newest_changelog_heading_is_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?(\d[\w.]*)", changelog, re.MULTILINE)[0] == version_in_setup()


def test_the_installed_command_tells_the_version() -> None:
    command = [str(Path(sys.executable).with_name("offramp")), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert version_in_setup() in done.stdout.split()
