"""What the pictures of docs/results.md share: how they look, and that the same results give the same bytes.

Which results a picture shows is told by the SHA-256 in its description, so that one drawn from older results can be
found out.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson.errors import OfframpError, missing_extra
from jetson.files import sha256_file, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
BLACK, ORANGE, GREEN, BLUE = "#000000", "#e69f00", "#009e73", "#0072b2"
VERMILION, PURPLE, SKY = "#d55e00", "#cc79a7", "#56b4e9"
"""Okabe and Ito's colours without yellow, which is hard to see on white."""
SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "offramp",  # else the ids are drawn by chance
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 5,
    "errorbar.capsize": 0,
}


def as_svg(size: tuple[float, float], title: str, source: str, fill: Callable[[Figure], None]) -> str:
    """A picture as text.

    Args:
        size: inches; the page shows ten of them some 850 pixels wide.
        title: of the file.
        source: SHA-256 of the results.
        fill: draws into the empty figure.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "bench") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whoever runs this may have settings of their own
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        fill(figure)
        stream = io.StringIO()
        told = {"Date": None, "Creator": None, "Title": f"Offramp: {title}", "Description": f"sha256 {source}"}
        figure.savefig(stream, format="svg", metadata=told)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def program(
    words: list[str] | None,
    name: str,
    text: str | None,
    default: Sequence[Path],
    draw: Callable[[Path, str], Iterable[tuple[str, str]]],
) -> int:
    """A command line that draws results.

    Args:
        words: of the command line; `sys.argv` when None.
        name: of the module.
        text: what it says of itself.
        default: files of results where none are named; empty when they must be.
        draw: from a file of results and its SHA-256 to pictures, each a file's name and its content.

    Returns:
        What the command exits with; errors are one line on stderr.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=text)
    many = "*" if default else "+"
    parser.add_argument("results", type=Path, nargs=many, metavar="FILE", help="as the benchmark wrote it")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of pictures, by default docs/images")
    options = parser.parse_args(words)
    try:
        for file in options.results or default:
            for place, content in draw(file, sha256_file(file) if file.exists() else ""):
                write_file(options.out / place, content)
                print(f"-> {options.out / place}")
    except OfframpError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
