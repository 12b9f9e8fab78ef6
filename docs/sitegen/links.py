"""What is wrong with a built site: links that lead nowhere, pages that nobody finds, things from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HOME = "docs/index.html"
WITHOUT_ENTRY = {"index.html", HOME, "search.html", "genindex.html", "py-modindex.html"}
"""Pages that the navigation need not list: furo's own, and the first one."""
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What a page links to and can be linked to."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        """What a browser fetches to show the page."""
        self.navigation: list[str] = []
        """The links of the tree of pages at the side."""
        self._tree = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names or leads to."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag not in VOID and (self._tree or "sidebar-tree" in found.get("class", "").split()):
            self._tree += 1
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
            if self._tree:
                self.navigation.append(found["href"])
        elif "src" in found:
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(found["href"])

    def handle_endtag(self, tag: str) -> None:
        """Leave the tree when it ends."""
        if self._tree and tag not in VOID:
            self._tree -= 1


def problems(site: Path) -> list[str]:
    """A line for each thing that is wrong; nothing is fetched, so of a link to elsewhere only its form is looked at."""
    pages = {
        file.relative_to(site).as_posix(): Page(file.read_text(encoding="utf-8"))
        for file in sorted(site.rglob("*.html"))
        if "_static" not in file.parts
    }
    found = []
    for name, page in pages.items():
        found += [f"{name}: {target}: {why}" for target in page.links if (why := _wrong(site, pages, name, target))]
        found += [
            f"{name}: {target}: {'comes from elsewhere' if urlsplit(target).netloc else why}"
            for target in page.loaded
            if not target.startswith("data:")
            if (why := _wrong(site, pages, name, target)) or urlsplit(target).netloc
        ]
    listed = {_resolve(HOME, target)[0] for target in pages[HOME].navigation}
    found += [f"{name}: the navigation does not lead here" for name in pages if name not in listed | WITHOUT_ENTRY]
    return found


def _wrong(site: Path, pages: dict[str, Page], name: str, target: str) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        known = (parts.scheme in ("http", "https") and "." in parts.netloc) or parts.scheme == "mailto"
        return None if known and not set(target) & set(' <>"') else "no address"
    file, anchor = _resolve(name, target)
    if not (site / file).is_file():
        return "no such file"
    if anchor and file in pages and anchor not in pages[file].ids:
        return "no such place on that page"
    return None


def _resolve(name: str, target: str) -> tuple[str, str]:
    """The file that a link on a page leads to, from the site's top, and the anchor in it."""
    parts = urlsplit(target)
    if not parts.path:
        return name, unquote(parts.fragment)
    segments: list[str] = [] if parts.path.startswith("/") else name.split("/")[:-1]
    for segment in unquote(parts.path).split("/"):
        if segment == "..":
            segments = segments[:-1]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/".join(segments), unquote(parts.fragment)
