"""`offramp demo`: every step once, through the same commands a user types."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click

from toolkit.cli.console import notes, out, print_json, say, status
from toolkit.cli.options import JSON
from toolkit.cli.shared import as_environment

EXITS = "1:mlp,3:cnn-add,5:vit"
TRAIN = f"--data digits --backbone tiny --depth 8 --patch-size 4 --exits {EXITS} --epochs 8 --threads 1".split()
"""One thread: on units this small a second one gains little, and loses much when the machine is busy."""
RUN = ["--no-pace", "--level", "0.9"]
"""Frames follow one another at once, as they did when the units were profiled: after a pause these are slower by half.
A busy host takes the core away from one frame in twenty for longer than the whole model needs; by the default quantile
of 0.95 hardly a budget would then count as one that can be met."""
FRAMES = 300
SETTINGS = tuple(f"OFFRAMP_{name}_" for name in ("TRAIN", "BUILD", "PROFILE", "RUN", "REPORT"))
"""Environment variables that would change a step; what a step does is what its line says."""


@click.command("demo")
@click.option("--out", "run", default=Path("runs/demo"), show_default=True, type=click.Path(path_type=Path))
@JSON
@click.pass_context
def command(context: click.Context, run: Path, as_json: bool) -> None:
    """Train, build, profile, run and report a small multi-exit ViT on handwritten digits.

    Every step is a command you can type yourself; each is printed before it runs. A second demo in the same folder
    does only what is left to do. Config files count for the demo itself, not for its steps.
    """
    began = time.monotonic()
    checkpoint, bundle, profile = run / "checkpoint", run / "bundle", run / "profile.json"
    trace, frames = run / "budget.csv", run / "frames.jsonl"
    step = Steps(as_environment(context.find_root().params), as_json)
    step("train", *TRAIN, "--out", checkpoint)
    step("build", checkpoint, "--out", bundle)
    step("profile", bundle, "--out", profile, "--seconds", "10", "--threads", "1")
    _write_trace(profile, trace)
    run_on: list[str | Path] = ["--profile", profile, "--data", "digits", "--budget-trace", trace]
    step("run", bundle, *run_on, *RUN, "--record", frames)
    step("report", run, "--no-comparison")
    seconds, report = time.monotonic() - began, run / "report.html"
    if as_json:
        summary = json.loads(frames.read_text(encoding="utf-8").splitlines()[-1])["summary"]
        made = {"checkpoint": checkpoint, "bundle": bundle, "profile": profile, "frames": frames, "report": report}
        print_json({**{k: str(v) for k, v in made.items()}, "seconds": round(seconds, 3), "summary": summary})
    say(f"demo finished in {seconds:.0f} s; open {report}")


class Steps:
    """Runs commands, each as a process of its own, as a user would; stops where one fails, with its exit code."""

    def __init__(self, shared: dict[str, str], as_json: bool) -> None:
        """Say how.

        Args:
            shared: the options of `offramp` itself, for the environment of each.
            as_json: whether what they print goes to stderr, because stdout is for the demo's own JSON.
        """
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
        self._environment |= {"OFFRAMP_CONFIG": os.devnull, **shared}
        self._console = notes if as_json else out
        self._stdout = sys.stderr if as_json else None

    def __call__(self, *words: str | Path) -> None:
        """Run one."""
        arguments = [str(w) for w in words]
        if not (self._stdout and (status.quiet or status.as_json)):
            self._console.print(f"\n$ offramp {shlex.join(arguments)}", style="bold", markup=False)
        sys.stdout.flush()
        command = [sys.executable, "-m", "toolkit", *arguments]
        code = subprocess.run(command, env=self._environment, stdout=self._stdout, check=False).returncode
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
