"""`offramp report`."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.console import say


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write [default: RUN/report.html].")
def command(run: Path, out: Path | None) -> None:
    """Write the report of the folder RUN (bundle/, profile.json, and frames.jsonl, checkpoint/ where they are)."""
    from toolkit.report import write_report

    say(f"report -> {write_report(run, out)}")
