"""What the documentation points to is there: `make` targets, files and headings."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ ]*(\w*)[^\n]*\n(.*?)^ {0,3}\1[`~]*[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?[^)]*\)"  # inline: [text](target "title")
    r"|^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)"  # by reference: [name]: target
    r"|(?:href|src)=\"([^\"]+)\"",
    re.MULTILINE,
)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the lines of a page's `sh` and `console` blocks, prompt removed."""
    blocks = [body for _, kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind in ("sh", "console")]
    return [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]


def prose(page: Path) -> str:
    """Return a page's text without its code, where a bracket is no link and a hash no heading."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    found = ["".join(groups) for groups in LINK.findall(re.sub(r"`[^`\n]*`", "`code`", prose(page)))]
    return [target for target in found if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: GitHub's slug of each heading, and ids set by hand."""
    found = set(re.findall(r"(?:id|name)=\"([^\"]+)\"", prose(page)))
    counts: dict[str, int] = {}
    for heading in HEADING.findall(prose(page)):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{counts[slug]}" if slug in counts else slug)
        counts[slug] = counts.get(slug, 0) + 1
    return found


def broken(page: Path, target: str) -> str | None:
    """Say what is wrong with a relative link, None if it leads somewhere."""
    name, _, anchor = unquote(target).partition("#")
    file = (page.parent / name).resolve() if name else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return f"{target}: no such file"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return f"{target}: no such heading"
    return None


def test_make_commands_in_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))
    named = [target for line in commands(README) for target in re.findall(r"(?:^|&& *)make +([a-z][\w-]*)", line)]
    assert {"demo", "test"} <= set(named)
    assert [target for target in named if target not in targets] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    problems = [broken(page, target) for target in links(page)]
    assert [problem for problem in problems if problem] == []


def test_the_link_check_sees_links_and_headings(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# What it's for\n## One `code` step\n## One code step\n```sh\n# no heading [x](no)\n$ make all\n```\n"
        'A [one](a.md "title"), `[two](b.md)`, ![three](<c.png>), [four][ref], <img src="d.svg">, [far](https://e.org).\n'
        "\n[ref]: e.md#part\n"
    )
    assert links(page) == ["a.md", "c.png", "d.svg", "e.md#part"]
    assert anchors(page) == {"what-its-for", "one-code-step", "one-code-step-1"}
    assert commands(page) == ["# no heading [x](no)", "make all"]
