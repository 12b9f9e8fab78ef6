"""A network of your own that is no Vision Transformer: a small CNN gets early exits through an adapter of one line.

`small_cnn` at the end is all that Offramp asks for: which part is the stem, which are the layers, which is the head.
Everything else is as for any model; here all of it is trained together, on the digits.

    python examples/own_cnn.py
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import main as offramp

if TYPE_CHECKING:
    from torch import nn

    from toolkit.models.chain import Chain


def main() -> None:
    """Train, build, profile and run, with the commands that one would type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/own-cnn"), help="folder for what is made")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--budget-ms", type=float, default=2.0)
    chosen = parser.parse_args()

    out, code, digits = chosen.out, f"{__file__}:small_cnn", ("--data", "digits")
    how = ("--strategy", "end-to-end", "--lr", "0.005", "--epochs", str(chosen.epochs), "--threads", "1")
    run("train", "--backbone", code, "--exits", "1:cnn-ignore,2:mlp", *digits, *how, "--out", out / "checkpoint")
    run("build", out / "checkpoint", "--precision", "fp32", "--out", out / "bundle")
    run("profile", out / "bundle", "--seconds", "3", "--out", out / "profile.json")
    run("run", out / "bundle", "--profile", out / "profile.json", *digits, "--budget-ms", str(chosen.budget_ms))


def run(*words: str | Path) -> None:
    """Run `offramp` with these words, as the command line would; stop where it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ offramp {shlex.join(arguments)}", flush=True)
    if code := offramp(arguments):
        sys.exit(code)


def network() -> nn.Sequential:
    """Your network, as you have it."""
    from torch import nn

    def stage(before: int, width: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(stage(1, 16), stage(16, 32), stage(32, 32), stage(32, 64), head)


def small_cnn() -> Chain:
    """What Offramp is given: the network's parts by their roles, and how its pixels are normalised."""
    from toolkit.models.chain import Chain

    net = network()
    names = [str(digit) for digit in range(10)]
    return Chain(
        stem=net[0], layers=list(net[1:4]), head=net[4], image=8, channels=1, mean=[0.3], std=[0.37], classes=names
    )


if __name__ == "__main__":
    main()
