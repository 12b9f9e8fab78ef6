"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
THREADS = click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads [default: all cores].")


class Size(click.ParamType):
    """`N` or `HxW`, in pixels: a pair (height, width)."""

    name = "N|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value))
        if not found or int(found[1]) < 1 or int(found[2] or 1) < 1:
            self.fail(f"{value!r} is not a size: give N or HxW, e.g. 224 or 480x640", param, ctx)
        return int(found[1]), int(found[2] or found[1])
