"""`offramp report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import print_json, progress_share, say

if TYPE_CHECKING:
    from toolkit.report.comparison import Comparison
    from toolkit.report.gather import Run

PATH = click.Path(path_type=Path)


@click.command("report")
@click.argument("run", type=PATH, required=False)
@click.option("--bundle", type=PATH, help="Of this bundle [default: RUN/bundle].")
@click.option(
    "--profile", "profiles", type=PATH, multiple=True, help="A profile, or a folder of them; may be repeated."
)
@click.option("--frames", type=PATH, multiple=True, help="What offramp run --record wrote; may be repeated.")
@click.option("--out", type=PATH, help="File to write [default: RUN/report.html, or ./report.html].")
@click.option(
    "--comparison/--no-comparison", default=True, show_default=True, help="Simulate policies beside one another."
)
@click.option("--open", "open_", is_flag=True, help="Open it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the data behind it; with no --out, write no page.")
def command(
    run: Path | None,
    bundle: Path | None,
    profiles: tuple[Path, ...],
    frames: tuple[Path, ...],
    out: Path | None,
    comparison: bool,
    open_: bool,
    as_json: bool,
) -> None:
    """Write a report, one HTML file that can be sent around: of the folder RUN, or of the files that are named.

    RUN may hold any of bundle/, profile*.json, profiles/, frames*.jsonl and checkpoint/. Several profiles, of power
    modes or precisions, stand beside one another.
    """
    from toolkit.report.gather import Parts, gather
    from toolkit.report.page import check_page, write_page

    found = gather(run, Parts(bundle, profiles, frames))
    page_wanted = not as_json or out is not None or open_
    if page_wanted:
        check_page(found, out)
    compared = _compare(found) if comparison else None
    if as_json:
        from toolkit.report.data import report_data

        print_json(report_data(found, compared))
    if not page_wanted:
        return
    page = write_page(found, out, compared)
    say(f"report -> {page}")
    if open_:
        _open(page)


def _open(page: Path) -> None:
    import webbrowser

    try:
        shown = webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        shown = False
    if not shown:
        say(f"no browser to be found here; open {page}")


def _compare(run: Run) -> Comparison | None:
    """What policies come to in every scenario; None where they are not compared, and why on the console."""
    from toolkit.report.comparison import ROLE, compare

    if run.bundle is None or not run.profiles:
        return None  # nothing that could be simulated, and nobody who expects it
    if len(run.bundle.exits) == 1:
        why = "with one exit there is nothing to choose"
    elif ROLE not in run.samples:
        why = f"the bundle records no answers to its {ROLE} images; build it again, or: offramp calibrate"
    else:
        from toolkit.simulate.compiled import NotCompiled, compile_loop

        try:
            simulate = compile_loop(say)
            with progress_share("simulating policies") as progress:
                return compare(run, simulate, progress)
        except NotCompiled as error:  # as plain Python it would take minutes
            why = str(error)
    say(f"no comparison of policies: {why}")
    return None
