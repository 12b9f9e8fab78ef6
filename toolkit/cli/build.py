"""`offramp build`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from jetson.manifest import Precision
from toolkit.cli.console import out as stdout
from toolkit.cli.console import print_json, progress_bars, say
from toolkit.cli.int8 import int8_options
from toolkit.cli.options import CODE, JSON, Precisions
from toolkit.cuts import CutSettings
from toolkit.quantise import Int8Settings


@click.command("build")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write the bundle to.")
@click.option("--data", help="Held-out data that judges the exits [default: what the checkpoint was trained on].")
@click.option("--parity-frames", default=100, show_default=True, help="Images to hold against PyTorch.")
@click.option("--quality-frames", default=2000, show_default=True, help="At most so many images judge an exit.")
@click.option(
    "--precision",
    "precisions",
    type=Precisions(),
    help="Precisions to make the units in, beside fp32 [default: fp16, where it stays close to PyTorch].",
)
@int8_options
@click.option("--exits", help="Early exits to build, LAYER:BRANCH,... [default: all of the checkpoint's].")
@click.option(
    "--cuts",
    default="auto",
    show_default=True,
    help="Where to cut: auto (after layers with an exit), all, or layers, e.g. 2,4.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Of the bundle at --out with its branches apart: fuse those whose boundary costs more than skipping saves.",
)
@click.option(
    "--fuse", help="Exits whose branch is fused into its segment, LAYER:BRANCH,... or none; overrides --profile."
)
@CODE
@JSON
def command(
    checkpoint: Path,
    out: Path,
    data: str | None,
    parity_frames: int,
    quality_frames: int,
    precisions: tuple[Precision, ...] | None,
    int8: Int8Settings | None,
    exits: str | None,
    cuts: str,
    profile: Path | None,
    fuse: str | None,
    code: Path | None,
    as_json: bool,
) -> None:
    """Make a bundle of CHECKPOINT: cut it at its exits, export every unit, check each against PyTorch.

    Layers without an exit are merged with those behind them. A second build of the same input does no work; after a
    change only the units that changed are exported again.
    """
    from toolkit.build import BuildSettings, build
    from toolkit.cli.info import describe, show, trtexec_lines

    settings = BuildSettings(
        checkpoint=checkpoint,
        out=out,
        data=data,
        parity_frames=parity_frames,
        quality_frames=quality_frames,
        precisions=precisions,
        int8=int8,
        cut=CutSettings(exits, cuts, profile, fuse),
        code=code,
        command=shlex.join(["offramp", *sys.argv[1:]]).encode(errors="replace").decode(),
    )
    with progress_bars() as step:
        result = build(settings, step)
    if result.up_to_date:
        say(f"{out} is up to date: nothing to do")
    else:
        say(f"exported {len(result.exported)} units, kept {len(result.reused)} that had not changed -> {out}")
    for remark in result.remarks:
        say(remark)
    if as_json:
        summary = {
            "up_to_date": result.up_to_date,
            "exported": result.exported,
            "reused": result.reused,
            "remarks": result.remarks,
            "trtexec": trtexec_lines(result.bundle),
        }
        print_json({**summary, "bundle": describe(result.bundle)})
    elif not result.up_to_date:
        show(result.bundle)
        stdout.print("\nThe engines are built on the device, with `offramp engines`, or each with TensorRT's own tool:")
        stdout.print("\n".join(trtexec_lines(result.bundle)), markup=False)
