"""`offramp deploy`."""

from __future__ import annotations

import collections
import dataclasses
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson.errors import BadInput, OfframpError, WorkFailed
from jetson.files import check_writable
from jetson.manifest import Precision
from toolkit.cli.console import out as stdout
from toolkit.cli.console import print_json, print_table, say
from toolkit.cli.options import ENGINE, JSON, PRECISION, THREADS, Size

if TYPE_CHECKING:
    from toolkit.deploy.site import Orders, Result, Site

BOARD = "{board}"
GOES_ON = (
    "interrupted; what runs on a board goes on there: the same command goes on where this one stopped, "
    "and with --stop in place of BUNDLE it is ended"
)


@click.command("deploy")
@click.argument("words", nargs=-1, metavar="[BOARD]... BUNDLE")
@click.option(
    "--inventory", type=click.Path(path_type=Path), help="TOML file of boards: all of it, or those BOARD names."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Of ssh [default: as ssh has it].")
@click.option("--ssh-options", default="", help="Further words for ssh, e.g. '-J gateway -i key'.")
@click.option("--folder", help="On the board; everything goes there  [default: ~/.offramp].")
@click.option("--python", help="Which Python on the board  [default: python3].")
@click.option(
    "--wheelhouse",
    type=click.Path(path_type=Path),
    help="Folder of wheels for the board, which then needs no package index.",
)
@ENGINE
@PRECISION
@click.option("--target", help="Engines for an RTX GPU, e.g. sm86, in place of the board's own.")
@click.option("--optimization-level", type=click.IntRange(0, 5), help="Of engines.")
@click.option("--workspace-mb", type=click.IntRange(1, 1 << 20), help="Of engines.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Engines built at once.")
@click.option("--rounds", type=click.IntRange(1), help="Of the profile.")
@click.option("--seconds", type=click.FloatRange(0), help="Of the profile.")
@click.option("--warm-up", type=click.IntRange(0), help="Of the profile.")
@click.option("--frame-size", type=Size(), help="Of the profile's camera frames.")
@THREADS
@click.option(
    "--out",
    default=f"profile-{BOARD}.json",
    show_default=True,
    help=f"File of the profile, here; {BOARD} is the board's name.",
)
@click.option(
    "--retries", default=5, show_default=True, type=click.IntRange(0, 1000), help="Of a connection that was lost."
)
@click.option("--restart", is_flag=True, help="End what an earlier deployment has left running there, and begin anew.")
@click.option("--stop", is_flag=True, help="End what an earlier deployment has left running there, and nothing else.")
@click.option("--dry-run", is_flag=True, help="Tell what would be copied and run.")
@JSON
def command(
    words: tuple[str, ...],
    inventory: Path | None,
    port: int | None,
    ssh_options: str,
    folder: str | None,
    python: str | None,
    wheelhouse: Path | None,
    engine: str | None,
    precision: Precision | None,
    target: str | None,
    optimization_level: int | None,
    workspace_mb: int | None,
    jobs: int | None,
    rounds: int | None,
    seconds: float | None,
    warm_up: int | None,
    frame_size: tuple[int, int] | None,
    threads: int | None,
    out: str,
    retries: int,
    restart: bool,
    stop: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring BUNDLE to each BOARD (user@host, or a name of ~/.ssh/config), build its engines there, profile it there.

    The system's ssh is used, with your keys and settings. Nothing on the board needs root; everything is in one folder.
    A connection that is lost is made again, the work on the board goes on meanwhile, and the same command goes on where
    the last one stopped.
    """
    from toolkit.deploy.site import Orders

    orders = Orders(
        wheelhouse=wheelhouse,
        engine=engine,
        precision=precision,
        target=target,
        threads=threads,
        engine_options=_options(
            {"--optimization-level": optimization_level, "--workspace-mb": workspace_mb, "--jobs": jobs}
        ),
        profile_options=_options(
            {
                "--rounds": rounds,
                "--seconds": seconds,
                "--warm-up": warm_up,
                "--frame-size": frame_size and "x".join(map(str, frame_size)),
            }
        ),
        retries=retries,
        restart=restart,
    )
    boards, bundle = (words, None) if stop else (words[:-1], Path(words[-1]) if words else None)
    given: dict[str, Any] = {"port": port, "options": _split(ssh_options), "python": python, "folder": folder}
    found = _sites(boards, inventory, out, orders, given, bundle)
    if stop:
        _stop(found)
        return
    if bundle is None:
        raise BadInput("name a board and a bundle: offramp deploy user@host BUNDLE")
    results = _deploy(found, bundle, dry_run)
    _show(results, bundle, dry_run, as_json)


def _options(given: dict[str, Any]) -> tuple[str, ...]:
    return tuple(word for name, value in given.items() if value is not None for word in (name, str(value)))


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput(f"--ssh-options {text!r}: {error}") from None


def _sites(
    boards: Sequence[str],
    inventory: Path | None,
    out: str,
    orders: Orders,
    given: dict[str, Any],
    bundle: Path | None,
) -> list[Site]:
    """The boards of the command line, or of the file; what the file says of one comes before the options."""
    from toolkit.deploy.inventory import Entry, load_inventory
    from toolkit.deploy.site import FOLDER, Site
    from toolkit.deploy.ssh import Address

    if inventory is not None:
        entries = load_inventory(inventory, boards)
    else:
        names = collections.Counter(b.rpartition("@")[2] for b in boards)
        entries = {b.rpartition("@")[2] if names[b.rpartition("@")[2]] == 1 else b: Entry(address=b) for b in boards}
        if len(entries) < len(boards):
            raise BadInput("a board is named twice")
    if not entries:
        what = "user@host" if bundle is None else f"user@host {bundle}"
        raise BadInput(f"name a board: offramp deploy {what} (or --inventory FILE)")
    if len(entries) > 1 and BOARD not in out:
        raise BadInput(f"--out {out}: several boards need a file each, so put {BOARD} into the name")
    sites = []
    for name, entry in entries.items():
        if not entry.address or entry.address.startswith("-") or re.search(r"\s", entry.address):
            raise BadInput(f"{entry.address!r} is no board: give user@host, or a name of ~/.ssh/config")
        own = {k: getattr(entry, k) for k in ("engine", "precision", "target") if getattr(entry, k) is not None}
        if entry.wheelhouse is not None and inventory is not None:
            own["wheelhouse"] = inventory.parent / entry.wheelhouse
        address = Address(
            entry.address,
            entry.port or given["port"],
            (*given["options"], *entry.ssh),
            entry.python or given["python"] or "python3",
        )
        file = Path(entry.out or out.replace(BOARD, re.sub(r"[^\w.@+-]", "_", name)))
        check_writable(file)
        sites.append(
            Site(name, address, file, entry.folder or given["folder"] or FOLDER, dataclasses.replace(orders, **own))
        )
    return sites


def _deploy(sites: Sequence[Site], bundle: Path, dry_run: bool) -> list[Result]:
    from toolkit.cli.deploy_view import views
    from toolkit.deploy.cargo import Cargo
    from toolkit.deploy.deployment import Deployment
    from toolkit.deploy.fleet import deploy

    with tempfile.TemporaryDirectory(prefix="offramp-") as folder:
        cargo = Cargo.pack(bundle, Path(folder))
        try:
            with views(len(sites)) as view:
                return deploy([Deployment(site, cargo, view(site.name), dry_run) for site in sites])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(GOES_ON) from None


def _stop(sites: Sequence[Site]) -> None:
    from toolkit.cli.deploy_view import Lines
    from toolkit.deploy.deployment import stop

    for site in sites:
        ended = stop(site, Lines(site.name))
        say(f"{site.name}: {f'ended {chr(44).join(ended)}' if ended else 'nothing was running'}")


def _show(results: Sequence[Result], bundle: Path, dry_run: bool, as_json: bool) -> None:
    """What came of it, and the error to end with."""
    from toolkit.deploy.deployment import as_data, refused

    for result in results:
        if result.error is not None and not isinstance(result.error, OfframpError):
            raise result.error
    failed = [r for r in results if r.error is not None]
    if as_json:
        print_json({"boards": [as_data(r) for r in results]})
    elif dry_run:
        for result in results:
            for line in result.plan:
                stdout.print(f"{result.site.name}: {line}", markup=False)
    elif len(results) > 1:
        _show_all(results)
    elif not failed:
        _show_one(results[0], bundle)
    if len(results) == 1 and failed:
        error = failed[0].error
        assert isinstance(error, OfframpError)
        if isinstance(error, WorkFailed) and failed[0].site.name not in str(error):
            raise WorkFailed(f"{failed[0].site.name}: {refused(error)}") from None
        raise error
    if failed:
        names = ", ".join(r.site.name for r in failed)
        raise WorkFailed(f"{len(failed)} of {len(results)} boards failed: {names}")


def _show_one(result: Result, bundle: Path) -> None:
    from toolkit.cli.profile import show

    assert result.profile is not None
    show(result.profile)
    name = result.site.name
    say(f"{result.copied_bytes / 1e6:.1f} MB copied to {name}:{result.folder}; {result.site.out} is its profile")
    there = shlex.quote(result.folder)
    say(f"on the board: {there}/bin/offramp run {result.bundle} --profile {result.there} --data FRAMES --budget-ms MS")


def _show_all(results: Sequence[Result]) -> None:
    """A line for each board; the answers of the last exit say how fast it is."""
    from toolkit.deploy.deployment import refused

    rows = []
    for result in results:
        profile = result.profile
        last = f"{profile.exits[-1].end_to_end_ms.quantile(0.5):.3f}" if profile else "-"
        ended = "failed" if result.error else "done"
        what = refused(result.error) if result.error else str(result.site.out)
        rows.append([result.site.name, ended, what, result.engine or "-", f"{result.copied_bytes / 1e6:.1f}", last])
    columns = ["board", "ended", "profile, or why", "engine", "MB copied", "last exit, median ms"]
    print_table("Boards", columns, rows, left=4)
