"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import click

from jetson.engines import NAMES
from jetson.errors import BadInput
from jetson.manifest import Precision
from jetson.preprocessing import MAX_EDGE
from jetson.profiling.profile import MOST_TOGETHER
from jetson.scheduling.trace import load_trace

BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
THREADS = click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads [default: all cores].")
HEADS = click.option(
    "--heads", type=int, help="Attention heads of a timm state dict [default: by timm's config.json, or width / 64]."
)
WEIGHTS = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Handed to the function of a model from Python code, FILE.py:FUNCTION.",
)
CODE = click.option(
    "--code",
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="Of a checkpoint from elsewhere whose backbone is Python code: that code, which is then run.",
)

ENGINE = click.option("--engine", type=click.Choice(NAMES), help="What runs the units.")
PRECISION = click.option(
    "--precision", type=click.Choice(get_args(Precision)), help="Of every unit [default: fp16 in TensorRT, else fp32]."
)
LIKE = click.option(
    "--like", type=click.Path(path_type=Path), help="With --hidden: a trace of budgets like those to be expected."
)
PROFILES = click.option(
    "--profile",
    "profile_files",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Of BUNDLE, made here; several, or a folder, one for each power mode.",
)
LATE = click.option(
    "--late",
    default="lost",
    show_default=True,
    type=click.Choice(["lost", "best-so-far"]),
    help="What counts when an answer comes late.",
)
PRICE_PER_MJ = click.option(
    "--price-per-mj", default=0.0, show_default=True, help="Of a millijoule, where the profile knows the power drawn."
)


def expected_budgets(like: Path | None, hidden: bool) -> tuple[float, ...]:
    """The budgets of the trace given with `LIKE`, as they were in the end.

    Raises:
        BadInput: a trace is given, but budgets are told.
        BudgetError: it is no trace.
    """
    if like is None:
        return ()
    if not hidden:
        raise BadInput("--like says what budgets that nobody tells are like: give --hidden too")
    return tuple(line.final_ms for line in load_trace(like))


class Precisions(click.ParamType):
    """`fp32,fp16`: a tuple that names each once."""

    name = "P[,P]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Precision, ...]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        words = tuple(dict.fromkeys(w.strip() for w in str(value).split(",")))
        known = get_args(Precision)
        if not set(words) <= set(known):
            self.fail(f"{value!r} is not a list of precisions: give some of {', '.join(known)}, e.g. fp16", param, ctx)
        return words  # type: ignore[return-value]


class Names(click.ParamType):
    """`cold,idle`: a tuple that names each once."""

    name = "NAME[,NAME]"

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        """Say which there are; any when none is given."""
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        words = tuple(dict.fromkeys(w.strip() for w in str(value).split(",")))
        if not all(words) or (self.known and not set(words) <= set(self.known)):
            some = f"some of {', '.join(self.known)}" if self.known else "names"
            self.fail(f"{value!r} is not a list of names: give {some}, with commas between", param, ctx)
        return words


class Sizes(click.ParamType):
    """`2,4`: different numbers of frames at once."""

    name = "N[,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        given = str(value) if re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", str(value)) else "0"
        sizes = tuple(int(n) for n in given.split(","))
        if len(set(sizes)) != len(sizes) or not 2 <= min(sizes) <= max(sizes) <= MOST_TOGETHER:
            some = f"different numbers from 2 to {MOST_TOGETHER}, with commas between, e.g. 2,4"
            self.fail(f"{value!r} is no list of sizes: give {some}", param, ctx)
        return sizes


class Size(click.ParamType):
    """`N` or `HxW`, in pixels: a pair (height, width)."""

    name = "N|HxW"
    takes_numbers = True
    """In a config file too: image-size = 224."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value))
        size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= min(size) <= max(size) <= MAX_EDGE:
            self.fail(f"{value!r} is not a size: give N or HxW, e.g. 224 or 480x640, at most {MAX_EDGE}", param, ctx)
        return size
