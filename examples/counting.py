"""Count things in an image: regression with early exits, and how far off each answer may be.

Trains on canvases with zero to eight handwritten digits, builds, profiles and answers; a few minutes, once. The
commands are printed, so that you can type them yourself. To count your own things, replace `--data counting` by a
folder of images with a targets.csv (docs/guide/concepts.md).

    python examples/counting.py
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from jetson import Budget, LatencyProfile, OfframpError, Runtime
from toolkit import data
from toolkit.cli import main as offramp


def main() -> None:
    """Make the model where it is missing, then count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/counting"), help="folder for what is made")
    parser.add_argument(
        "--depth", type=int, default=6, help="layers; the exits lie after the first third and the second"
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--limit", type=int, default=4000, help="training images")
    parser.add_argument("--images", type=int, default=6, help="how many to count")
    chosen = parser.parse_args()

    out, third = chosen.out, max(1, chosen.depth // 3)
    exits = f"{third}:cnn-add,{max(third + 1, 2 * third)}:cnn-add" if chosen.depth > 2 else f"{third}:cnn-add"
    if not (out / "profile.json").is_file():
        size = ["--patch-size", "8", "--depth", chosen.depth, "--epochs", chosen.epochs, "--limit", chosen.limit]
        run("train", "--data", "counting", "--exits", exits, *size, "--threads", "1", "--out", out / "checkpoint")
        run("build", out / "checkpoint", "--precision", "fp32", "--out", out / "bundle")
        run("profile", out / "bundle", "--seconds", "3", "--out", out / "profile.json")

    profile = LatencyProfile.load(out / "profile.json")
    runtime = Runtime.load(out / "bundle", profile)
    manifest = runtime.bundle.manifest
    within = {exit_.name: exit_.interval for exit_ in manifest.exits}
    quickest, deepest = profile.exits[0].end_to_end_ms, profile.exits[-1].end_to_end_ms
    test = data.frames("counting", split="test")

    for index in range(chosen.images):
        # What follows needs the time too: every other frame has room for the quickest exit alone.
        ms = 4 * deepest.median if index % 2 else 1.5 * quickest.quantile(0.95)
        answer = runtime.infer(test.images[index], Budget.within(ms=ms))
        assert answer.value is not None, "a regression's answer has values"
        interval = within[answer.exit_name]  # what calibration found; None where it had too few images
        off = (
            "" if interval is None else f" give or take {interval.half_width[0]:.1f} ({interval.level:.0%} of the time)"
        )
        print(
            f"{test.targets[index, 0]:.0f} on the canvas, counted {answer.value[0]:.1f}{off}: "
            f"{answer.exit_name}, {answer.elapsed_ms:.2f} of {ms:.2f} ms"
        )


def run(*words: str | int | Path) -> None:
    """Run `offramp` with these words, as the command line would; stop where it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ offramp {shlex.join(arguments)}", flush=True)
    if code := offramp(arguments):
        sys.exit(code)


if __name__ == "__main__":
    try:
        main()
    except OfframpError as error:
        sys.exit(f"{error}")
