"""`offramp demo`: every step once, through the same commands a user types."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import click

from toolkit.cli.console import out, say

EXITS = "1:mlp,3:cnn-add,5:vit"
TRAIN = f"--data digits --backbone tiny --depth 8 --patch-size 4 --exits {EXITS} --epochs 8 --threads 1".split()
"""One thread: on units this small a second one gains little, and loses much when the machine is busy."""
RUN = ["--no-pace", "--level", "0.9"]
"""Frames follow one another at once, as they did when the units were profiled: after a pause these are slower by half.
A busy host takes the core away from one frame in twenty for longer than the whole model needs; by the default quantile
of 0.95 hardly a budget would then count as one that can be met."""
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
    _offramp("profile", bundle, "--out", profile, "--seconds", "10", "--threads", "1")
    _write_trace(profile, trace)
    run_on: list[str | Path] = ["--profile", profile, "--data", "digits", "--budget-trace", trace]
    _offramp("run", bundle, *run_on, *RUN, "--record", frames)
    _offramp("report", run, "--no-comparison")
    say(f"demo finished in {time.monotonic() - began:.0f} s; open {run / 'report.html'}")


def _offramp(*words: str | Path) -> None:
    """Run one command as a process of its own, as a user would; stop where it fails, with its exit code."""
    arguments = [str(w) for w in words]
    out.print(f"\n$ offramp {shlex.join(arguments)}", style="bold", markup=False)
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-m", "toolkit", *arguments], check=False).returncode
    if code:
        raise click.exceptions.Exit(code if code > 0 else 128 - code)


def _write_trace(profile: Path, trace: Path) -> None:
    """Budgets from the quickest exit's time to twice the deepest one's, as this machine was just measured."""
    from jetson.profiling.profile import LatencyProfile
    from jetson.scheduling.trace import save_trace, swing

    medians = [e.end_to_end_ms.median for e in LatencyProfile.load(profile).exits]
    low, high = min(medians), 2 * medians[-1]
    save_trace(trace, swing(low, high, FRAMES))
    say(f"budgets between {low:.2f} and {high:.2f} ms for {FRAMES} frames -> {trace}")
