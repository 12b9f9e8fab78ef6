"""`python -m benchmarks.tables [NAME...]`: write the tables of docs/results.md and docs/performance.md anew.

They come from benchmarks/results.

A table stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; what stands outside is left alone. NAME is a
table, or the words before its last hyphen: cifar10 means all of cifar10's.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import clock_table as clock
from benchmarks import int8_table as int8
from benchmarks import scheduling_plot
from benchmarks import scheduling_table as scheduling
from benchmarks import strategies_table as strategies
from benchmarks.cost.tables import NAMES as COSTS
from benchmarks.cost.tables import cost_table
from benchmarks.paper import tables as paper
from benchmarks.paper.options import options
from benchmarks.paper.summary import Summary, load
from jetson.errors import BadInput, OfframpError
from jetson.files import storage, write_file
from toolkit.models.config import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "results.md", ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
EXPERIMENTS = {"cifar10": "cifar10:FILE", "counting": "counting", "trees": "FOLDER"}
"""Of each of the paper's experiments what to give as --data."""
BUNDLES = ("cifar10", "fashion", "twelve")
"""That policies are compared on."""
WIDTHS = ("half",)
"""The first experiment again, with branches half as wide."""
DEFAULTS = {
    "image_size": 56,
    "limit": None,
    "branches": list(ARCHITECTURES),
    "layers": list(range(1, 12)),
    "seeds": [0, 1, 2],
    "repeat_layers": None,
    "epochs": 4,
    "latency_seconds": 120.0,
    "threads": 1,
}
"""Those of `python -m benchmarks.paper`, which needs PyTorch to be asked."""
Make = Callable[[Path], str]
"""From the folder of results to a table's Markdown, the line of commands first."""


def commands(table: str, made: str) -> str:
    """The line that every table begins with.

    Args:
        table: its name.
        made: the command that made the raw data.
    """
    return f"Raw data: `{made}`; this table: `python -m benchmarks.tables {table}`."


def paper_command(name: str, settings: dict[str, Any]) -> str:
    """The command that makes an experiment's raw data, with the options that are not the defaults."""
    words = [
        "python -m benchmarks.paper",
        f"--data {EXPERIMENTS.get(name, EXPERIMENTS['cifar10'])}",
        "--backbone DIRECTORY",
    ]
    for key, value in settings.items():
        if value is not None and value != DEFAULTS.get(key):
            values = value if isinstance(value, list) else [value]
            words.append(f"--{key.replace('_', '-')} {shlex.join(map(str, values))}")
    return " ".join([*words, f"--work WORK --out benchmarks/results/{name}.json"])


def paper_table(name: str, part: str, results: Path) -> str:
    """One table of one of the paper's experiments."""
    summary = _summary(name, results)
    line = commands(f"{name}-{part}", paper_command(name, summary.recorded.settings))
    return f"{line}\n\n{paper.TABLES[part](summary)}"


def _summary(name: str, results: Path) -> Summary:
    file = results / f"{name}.json"
    with storage(file, "read"):
        if not file.exists():
            raise BadInput(f"{file} is not there; make it with: {paper_command(name, {})}")
    return load(file)


def options_table(results: Path) -> str:
    """Branches in two widths, of two experiments on the same data."""
    summaries = [_summary(name, results) for name in ("cifar10", *WIDTHS)]
    made = "` and `".join(paper_command(s.name, s.recorded.settings) for s in summaries[1:])
    return f"{commands('cifar10-options', made)}\n\n{options(summaries[0], summaries[1:])}"


def strategies_table(results: Path) -> str:
    """The training strategies side by side."""
    recorded = strategies.read(results / "strategies.json")
    line = commands("strategies", strategies.command(recorded.settings))
    return f"{line}\n\n{strategies.table(recorded)}"


def int8_table(name: str, results: Path) -> str:
    """What int8 costs one model."""
    recorded = int8.read(results / f"int8-{name}.json", name)
    line = commands(f"int8-{name}", "`, `".join(int8.made_by(name, recorded.settings)))
    return f"{line}\n\n{int8.table(recorded)}"


def confidence_table(results: Path) -> str:
    """Whether what the same models state comes true."""
    found = {name: int8.read(results / f"int8-{name}.json", name) for name in int8.MODELS}
    last = [int8.made_by(name, recorded.settings)[-1] for name, recorded in found.items()]
    return f"{commands('confidence', '` and `'.join(last))}\n\n{int8.confidence_table(found)}"


def scheduling_table(name: str, part: str, results: Path) -> str:
    """Policies in simulation, on one bundle."""
    recorded = scheduling.read(results / f"scheduling-{name}.json")
    line = commands(f"scheduling-{name}-{part}", scheduling.command(f"scheduling-{name}", recorded.settings))
    return f"{line}\n\n{scheduling.TABLES[part](recorded)}"


def scheduling_picture(name: str, results: Path) -> str:
    """The same, as a picture; `python -m benchmarks.scheduling_plot` draws it."""
    return scheduling_plot.shown(scheduling.read(results / f"scheduling-{name}.json"), f"scheduling-{name}")


def clock_table(name: str, results: Path) -> str:
    """Policies on the real clock, beside simulation."""
    recorded = clock.read(results / f"{name}.json")
    return f"{commands(name, clock.command(name, recorded.settings))}\n\n{clock.table(recorded)}"


REGISTRY: dict[str, Make] = {
    f"{name}-{part}": partial(paper_table, name, part) for name in EXPERIMENTS for part in paper.TABLES
} | {"cifar10-options": options_table, "strategies": strategies_table, "confidence": confidence_table}
REGISTRY |= {f"int8-{name}": partial(int8_table, name) for name in int8.MODELS}
REGISTRY |= {
    f"scheduling-{name}-{part}": partial(scheduling_table, name, part) for name in BUNDLES for part in scheduling.TABLES
}
REGISTRY |= {f"scheduling-{name}-picture": partial(scheduling_picture, name) for name in BUNDLES}
REGISTRY |= {name: partial(clock_table, name) for name in ("clock", "clock-twelve")}
REGISTRY |= {f"cost-{name}": partial(cost_table, name) for name in COSTS}
"""Every table there is. One made from other results is one more entry."""

BLOCK = re.compile(r"<!-- begin: (?P<name>[\w-]+) -->\n(?P<text>.*?)<!-- end: (?P=name) -->", re.DOTALL)


def blocks(text: str) -> dict[str, str]:
    """What stands in each block of a page.

    Raises:
        BadInput: a block without an end, one that stands there twice, or in another.
    """
    found = {m["name"]: m["text"] for m in BLOCK.finditer(text)}
    marks = re.findall(r"<!-- (begin|end): ([\w-]+) -->", text)
    if marks != [(kind, name) for name in found for kind in ("begin", "end")]:
        raise BadInput("a block needs one begin and one end, and no other block in between")
    return found


def rewrite(text: str, tables: dict[str, str]) -> str:
    """The page with these blocks filled anew."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        return _block(name, tables[name]) if name in tables else match[0]

    return BLOCK.sub(fill, text)


def _block(name: str, table: str) -> str:
    return f"<!-- begin: {name} -->\n\n{table}\n\n<!-- end: {name} -->"


def chosen(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    """The blocks that are meant, in the page's order; all when none are named.

    Raises:
        BadInput: the page has no such block, or nothing makes one that it has.
    """
    there = list(there)
    wanted = list(wanted) or there
    if unknown := [w for w in wanted if w not in there and not any(_group(name) == w for name in there)]:
        raise BadInput(f"the page has no block {', '.join(unknown)}; it has {', '.join(there)}")
    names = [name for name in there if name in wanted or _group(name) in wanted]
    if unmade := [name for name in names if name not in REGISTRY]:
        raise BadInput(f"nothing makes the block {', '.join(unmade)}; there are {', '.join(REGISTRY)}")
    return names


def _group(name: str) -> str:
    return name.rpartition("-")[0]


def on_pages(pages: Iterable[Path], wanted: Iterable[str]) -> list[tuple[Path, list[str]]]:
    """Which of the blocks that are meant stand on which page; pages without any are left out.

    Raises:
        BadInput: no page has such a block.
        StorageError: a page cannot be read.
    """
    there = {page: list(blocks(_text(page))) for page in pages}
    chosen(wanted, [name for names in there.values() for name in names])
    found = [(p, [w for w in wanted if any(w in (n, _group(n)) for n in names)]) for p, names in there.items()]
    return [(page, words) for page, words in found if words or not list(wanted)]


def _text(page: Path) -> str:
    with storage(page, "read"):
        return page.read_text(encoding="utf-8")


def update(page: Path, results: Path, wanted: Iterable[str], check: bool) -> int:
    """Write blocks anew, or with `check` only name those that are not what the results give.

    A block whose results are not there is told and left as it is; the others are written all the same.

    Returns:
        What the command exits with: 0, 1 where a checked block is stale, 2 where one cannot be made.
    """
    text = _text(page)
    found = blocks(text)
    made: dict[str, str] = {}
    failed: dict[str, None] = {}
    for name in chosen(wanted, found):
        try:
            made[name] = REGISTRY[name](results)
        except OfframpError as error:
            failed[str(error)] = None
    stale = [name for name, table in made.items() if found[name] != f"\n{table}\n\n"]
    if stale and not check:
        write_file(page, rewrite(text, made))
    for name in stale:
        print(f"{name}: is not what the results give" if check else f"{name}: written")
    for line in failed:
        print(line, file=sys.stderr)
    if failed:
        return BadInput.exit_code
    return 1 if check and stale else 0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which tables; all of the page by default")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 naming the blocks that are stale")
    parser.add_argument("--page", type=Path, help="the page to write, by default both")
    parser.add_argument("--results", type=Path, default=RESULTS, help="raw results, by default benchmarks/results")
    options = parser.parse_args(words)
    try:
        pages = on_pages(PAGES if options.page is None else [options.page], options.names)
        return max(update(page, options.results, names, options.check) for page, names in pages)
    except OfframpError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
