"""Every command and option that the documentation names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.packaging.test_readme import FENCE
from toolkit.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.*")),
]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
CALL = re.compile(r"(?:\bofframp|-m toolkit) +([a-z][a-z-]*)((?:\\\n|[^;&|#\n`])*)")
SPAN = re.compile(r"`([^`\n]+)`")
OF_ALL = {"--help", *(opt for p in cli.params for opt in (*p.opts, *p.secondary_opts))}
"""Of `offramp` itself, or of each command."""
OF_OTHERS = {"--extra-index-url", "--system-site-packages", "--python-version", "--platform"}
"""Of pip and venv."""


def options() -> dict[str, set[str]]:
    """By command the options it takes."""
    found = {}
    for name in COMMANDS:
        context = click.Context(cli, info_name="offramp")
        command = cli.get_command(context, name)
        assert command is not None
        found[name] = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | OF_ALL
    return found


OPTIONS = options()


def wrong(page: Path) -> list[str]:
    """What the page names and is not there."""
    text = page.read_text(encoding="utf-8")
    return [*_wrong_calls(text), *_wrong_spans(text if page.suffix == ".md" else "")]


def _wrong_calls(text: str) -> Iterator[str]:
    """Of whole calls, in blocks or in a line."""
    for name, rest in CALL.findall("\n".join([*(body for _, _, body in FENCE.findall(text)), *SPAN.findall(text)])):
        if name not in OPTIONS:
            yield f"offramp {name}: no such command"
        else:
            yield from (
                f"offramp {name}: no {option}" for option in OPTION.findall(rest) if option not in OPTIONS[name]
            )


def _wrong_spans(text: str) -> Iterator[str]:
    """Of options named by themselves: some command has each."""
    known = OF_OTHERS.union(*OPTIONS.values())
    for span in SPAN.findall(FENCE.sub("", text)):
        if span.startswith("--"):
            yield from (f"{option}: no command has it" for option in OPTION.findall(span) if option not in known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_that_the_documentation_names_exist(page: Path) -> None:
    assert wrong(page) == []


def test_the_check_of_options_sees_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`offramp run --data x --dta y`, `--out` and `--wrong`, `other --thing`\n"
        "```sh\nofframp build a \\\n  --nothing  # --comment\nofframp bild\n"
        "torchrun -m toolkit train --exits 1:mlp --exts\n```\n"
    )
    assert wrong(page) == [
        *("offramp build: no --nothing", "offramp bild: no such command", "offramp train: no --exts"),
        *("offramp run: no --dta", "--wrong: no command has it"),
    ]
