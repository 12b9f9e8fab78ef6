"""The parts of the site that are made from code when it is built: navigation, commands, the device's API, formats.

A page holds a comment such as `<!-- site: commands -->`, which shows nothing where the repository is read as it is.
When Sphinx reads the page, the part is put in its place, so nothing generated is ever written beside the sources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from sitegen import api, commands, formats, navigation

MARK = re.compile(r"^<!-- site: ([a-z-]+) -->$", re.MULTILINE)
PARTS: dict[str, Callable[[Path], str]] = {
    "navigation": navigation.toctrees,
    "decisions": navigation.decisions,
    "commands": lambda _root: commands.reference(),
    "exit-codes": lambda _root: commands.exit_codes(),
    "api": lambda _root: api.reference(),
    "errors": lambda _root: api.errors(),
    **{f"records-{name}": formats.part(name) for name in formats.FORMATS},
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in a build."""
    app.connect("source-read", fill)
    app.connect("build-finished", write_schemas)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def fill(app: Sphinx, _name: str, source: list[str]) -> None:
    """Put each part that a page asks for into its place."""
    source[0] = MARK.sub(lambda mark: PARTS[mark[1]](Path(app.srcdir)), source[0])


def write_schemas(app: Sphinx, error: Exception | None) -> None:
    """Lay the JSON Schemas beside the page that names them."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "docs" / "reference" / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    for name in formats.JSON:
        (folder / f"{name}.schema.json").write_text(json.dumps(formats.schema(name), indent=1) + "\n", encoding="utf-8")
