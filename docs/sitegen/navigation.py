"""The site's navigation: pages whose place is known, in that order, then whatever else lies in a part's folder.

A new page under docs/guide or docs/reference appears by itself.
"""

from __future__ import annotations

from pathlib import Path

NAVIGATION: dict[str, tuple[str, ...]] = {
    "Tutorial": ("docs/tutorial",),
    "How-to guides": (
        *("docs/guide/training", "docs/guide/import", "docs/guide/calibration", "docs/jetson", "docs/guide/deploy"),
        *("docs/guide/power", "docs/guide/run", "docs/guide/streams", "docs/guide/serve", "docs/guide/simulate"),
        *("docs/guide/report", "docs/guide/command-line", "docs/guide/*"),
        *("examples/README", "docs/guide/troubleshooting"),
    ),
    "Explanation": (
        *("docs/guide/concepts", "docs/guide/scheduling", "docs/glossary", "docs/results", "docs/performance"),
        *("docs/decisions/README",),
    ),
    "Reference": (
        *("docs/reference/commands", "docs/reference/python", "docs/reference/errors", "docs/reference/records"),
        *("docs/reference/bundle", "docs/reference/profile", "docs/reference/cache", "docs/reference/*"),
    ),
    "Project": ("CHANGELOG", "CONTRIBUTING", "docs/*"),
}
ROOT = "docs/index"


def toctrees(root: Path) -> str:
    """One hidden toctree for each part of the navigation."""
    return "\n".join(_toctree(pages, caption) for caption, pages in ordered(root).items() if pages)


def decisions(root: Path) -> str:
    """The toctree of the decision records, below their list."""
    return _toctree([_name(root, page) for page in sorted((root / "docs" / "decisions").glob("0*.md"))])


def ordered(root: Path) -> dict[str, list[str]]:
    """The pages of each part, without their ending, in order."""
    named = {name for names in NAVIGATION.values() for name in names} | {ROOT}
    found: dict[str, list[str]] = {}
    for caption, names in NAVIGATION.items():
        pages = found.setdefault(caption, [])
        for name in names:
            if name.endswith("*"):
                there = [_name(root, page) for page in sorted(root.glob(f"{name}.md"))]
                pages += [page for page in there if page not in named]
            elif (root / f"{name}.md").is_file():
                pages.append(name)
    return found


def _name(root: Path, page: Path) -> str:
    return page.relative_to(root).with_suffix("").as_posix()


def _toctree(pages: list[str], caption: str | None = None) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["```{toctree}", *options, "", *(f"/{page}" for page in pages), "```", ""])
