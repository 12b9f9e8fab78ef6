"""`offramp demo`: every step once, through the same commands a user types."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from toolkit.cli.console import out, say

TRAIN = [
    "--data",
    "digits",
    "--backbone",
    "tiny",
    "--depth",
    "8",
    "--patch-size",
    "2",
    "--exits",
    "2:mlp,4:cnn-add,6:vit",
    "--strategy",
    "end-to-end",
]
FRAMES = 300


@click.command("demo")
@click.option("--out", "run", default=Path("runs/demo"), show_default=True, type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Train, build, profile, run and report a small multi-exit ViT on handwritten digits.

    Every step is a command you can type yourself; each is printed before it runs. A second demo in the same folder
    does only what is left to do.
    """
    began = time.monotonic()
    checkpoint, bundle, profile = run / "checkpoint", run / "bundle", run / "profile.json"
    trace, frames = run / "budget.csv", run / "frames.jsonl"
    _offramp("train", *TRAIN, "--out", checkpoint)
    _offramp("build", checkpoint, "--out", bundle)
    _offramp("profile", bundle, "--out", profile, "--seconds", "20")
    _write_trace(profile, trace)
    _offramp("run", bundle, "--profile", profile, "--data", "digits", "--budget-trace", trace, "--record", frames)
    _offramp("report", run)
    say(f"demo finished in {time.monotonic() - began:.0f} s; open {run / 'report.html'}")


def _offramp(*words: str | Path) -> None:
    from toolkit.cli import cli

    arguments = [str(w) for w in words]
    out.print(f"\n$ offramp {shlex.join(arguments)}", style="bold", markup=False)
    cli.main(arguments, prog_name="offramp", standalone_mode=False)


def _write_trace(profile: Path, trace: Path) -> None:
    """Budgets from half the quickest exit's time to twice the deepest one's, as this machine was just measured."""
    from jetson.profiling.profile import LatencyProfile
    from jetson.scheduling.trace import save_trace, swing

    medians = [e.end_to_end_ms.median for e in LatencyProfile.load(profile).exits]
    save_trace(trace, swing(min(medians) / 2, 2 * medians[-1], FRAMES, gap_ms=5.0))
    say(f"budgets between {min(medians) / 2:.2f} and {2 * medians[-1]:.2f} ms for {FRAMES} frames -> {trace}")
