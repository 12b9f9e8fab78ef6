"""`offramp doctor`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click
import msgspec
from rich.text import Text

from jetson.errors import WorkFailed
from toolkit.cli.console import out, print_json
from toolkit.cli.options import JSON

if TYPE_CHECKING:
    from jetson.doctor.check import Finding, Report

WIDEST = 110
"""Columns; longer lines are hard to follow with the eye."""
NARROWEST = 60
COLOURS = {"ok": "green", "warning": "yellow", "missing": "bold red", "not here": "dim"}
INDENT = " " * 2


@click.command("doctor")
@click.option("--check", is_flag=True, help="Exit with 1 when TensorRT cannot run here.")
@JSON
def command(check: bool, as_json: bool) -> None:
    """Tell whether this machine is ready: what is there, what is not, and what mends it.

    Works on any machine, needs no network and changes nothing.
    """
    from jetson.doctor.examine import examine

    report = examine()
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        _show(report)
    if check and not report.ready.tensorrt:
        raise WorkFailed(next(v.sentence for v in report.verdicts if v.engine == "TensorRT"))


def _show(report: Report) -> None:
    """The findings, a group after the other, each with what mends it below; then the verdicts."""
    titles = max(len(f.title) for f in report.findings)
    for group, findings in itertools.groupby(report.findings, key=lambda f: f.group):
        out.print(Text(group, style="bold"))
        for finding in findings:
            _print(finding, titles)
    out.print()
    for verdict in report.verdicts:
        colour = COLOURS[verdict.state]
        fits = len(verdict.sentence) <= _width()
        whole, because = verdict.sentence, f"{verdict.engine}: not ready, because {verdict.because}"
        head, _, rest = (whole if fits or not verdict.mend else because).partition(": ")
        _wrap(Text.assemble((f"{head}: ", "bold"), (rest, colour)), Text(), 0)
        if not fits:
            _mend(verdict.mend, 0)


def _print(finding: Finding, titles: int) -> None:
    state = Text(finding.state.ljust(max(map(len, COLOURS))), style=COLOURS[finding.state])
    head = Text.assemble(INDENT, state, INDENT, finding.title.ljust(titles), INDENT)
    _wrap(Text(finding.found), head, len(head))
    _mend(finding.mend, len(head))


def _mend(mend: str | None, indent: int) -> None:
    """Print what mends something. It is not broken into lines, so that it can be copied; the terminal may fold it."""
    if mend:
        out.print(Text.assemble(" " * indent + "-> ", (mend, "cyan")))


def _width() -> int:
    return max(NARROWEST, min(out.width, WIDEST))


def _wrap(text: Text, head: Text, indent: int) -> None:
    """Print a head and a text beside it, the text's further lines below its first."""
    for number, line in enumerate(text.wrap(out, _width() - indent)):
        line.rstrip()
        out.print(Text.assemble(head if number == 0 else " " * indent, line))
