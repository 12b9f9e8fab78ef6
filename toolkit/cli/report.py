"""`offramp report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import print_json, progress_share, say
from toolkit.cli.options import JSON

if TYPE_CHECKING:
    from toolkit.report.comparison import Comparison
    from toolkit.report.gather import Run


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write [default: RUN/report.html].")
@click.option(
    "--comparison/--no-comparison", default=True, show_default=True, help="Simulate policies beside one another."
)
@JSON
def command(run: Path, out: Path | None, comparison: bool, as_json: bool) -> None:
    """Write the report of the folder RUN (bundle/, profile.json, and frames.jsonl, checkpoint/ where they are)."""
    from toolkit.report import write_report

    file = write_report(run, out, _compare if comparison else None)
    if as_json:
        print_json({"report": str(file), "size_bytes": file.stat().st_size})
    say(f"report -> {file}")


def _compare(run: Run) -> Comparison | None:
    """What policies come to in every scenario; None where they are not compared, and why on the console."""
    from toolkit.report.comparison import ROLE, compare
    from toolkit.simulate.compiled import NotCompiled, compile_loop

    if len(run.manifest.exits) == 1:
        why = "with one exit there is nothing to choose"
    elif ROLE not in run.samples:
        why = f"the bundle records no answers to its {ROLE} images; build it again, or: offramp calibrate"
    else:
        try:
            simulate = compile_loop(say)
            with progress_share("simulating policies") as progress:
                return compare(run, simulate, progress)
        except NotCompiled as error:  # as plain Python it would take minutes
            why = str(error)
    say(f"no comparison of policies: {why}")
    return None
