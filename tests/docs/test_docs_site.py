"""The site is built without a warning, and everything in it leads somewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, str(ROOT / "docs" / "build.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def html(site: Path, page: str) -> str:
    return (site / f"{page}.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_builds_and_its_links_lead_somewhere(site: Path) -> None:
    assert (site / "docs" / "tutorial.html").is_file()
    assert (site / "searchindex.js").is_file()


@pytest.mark.slow
def test_the_reference_is_that_of_the_code(site: Path) -> None:
    from toolkit.cli import COMMANDS

    commands = html(site, "docs/reference/commands")
    assert [name for name in COMMANDS if f"offramp {name}" not in commands] == []
    assert "--metrics-port" in commands
    assert "StreamsError" in html(site, "docs/reference/errors")
    assert "infer_many" in html(site, "docs/reference/python")
    records = html(site, "docs/reference/records")
    assert "max_difference" in records and "Largest absolute difference" in records
    schema = json.loads((site / "docs" / "reference" / "schemas" / "manifest.schema.json").read_text())
    assert "Exit" in schema["$defs"]


@pytest.mark.slow
def test_every_mark_was_filled_in(site: Path) -> None:
    assert [page.name for page in site.rglob("*.html") if "<!-- site:" in page.read_text(encoding="utf-8")] == []


@pytest.fixture
def sitegen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


@pytest.mark.usefixtures("sitegen")
def test_a_new_page_takes_its_place_by_itself(tmp_path: Path) -> None:
    from sitegen.navigation import ordered

    for name in ("docs/index", "docs/tutorial", "docs/guide/zebra", "docs/guide/concepts", "docs/reference/new"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.md").touch()
    found = ordered(tmp_path)
    assert found["How-to guides"] == ["docs/guide/zebra"]
    assert found["Explanation"] == ["docs/guide/concepts"] and found["Reference"] == ["docs/reference/new"]


PAGE = """<nav class="sidebar-tree"><ul><li><a href="there.html#in">x</a></li></ul></nav><img src="there.html">
<script src="https://example.org/x.js"></script><a href="https://example.org/">far</a>"""


@pytest.mark.usefixtures("sitegen")
def test_the_check_of_links_sees_what_is_wrong(tmp_path: Path) -> None:
    from sitegen.links import problems

    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.html").write_text(
        PAGE + '<a href="gone.html">y</a><a href="there.html#out">z</a><a href="http:x">w</a>'
    )
    (docs / "there.html").write_text('<p id="in"></p><a href="index.html#">up</a>')
    (docs / "lost.html").write_text("")
    assert problems(tmp_path) == [
        "docs/index.html: gone.html: no such file",
        "docs/index.html: there.html#out: no such place on that page",
        "docs/index.html: http:x: no address",
        "docs/index.html: https://example.org/x.js: comes from elsewhere",
        "docs/lost.html: the navigation does not lead here",
    ]
