"""`offramp calibrate`."""

from __future__ import annotations

from pathlib import Path

import click

from jetson.manifest import Precision
from toolkit.cli.console import print_json, progress_bars, say
from toolkit.cli.int8 import int8_options
from toolkit.cli.options import BUNDLE, JSON, Precisions
from toolkit.quantise import Int8Settings


@click.command("calibrate")
@BUNDLE
@click.option(
    "--data", help="Held-out data, as for build: its calibration part is learnt from, its test part reported."
)
@click.option("--quality-frames", default=2000, show_default=True, help="At most so many images of each role.")
@click.option("--precision", "precisions", type=Precisions(), help="int8: put the units into int8 anew.")
@int8_options
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Latencies measured in some precision; of several, each unit takes the quickest.",
)
@JSON
def command(
    bundle: Path,
    data: str | None,
    quality_frames: int,
    precisions: tuple[Precision, ...] | None,
    int8: Int8Settings | None,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Learn anew what BUNDLE believes about its exits, from other data, without exporting it again.

    Quality, confidence, intervals and the joint table come from --data; with --precision int8 the int8 units too. With
    --profile, given once for each precision measured, every unit takes the precision that was quickest.
    """
    from toolkit.calibrate import CalibrateSettings, calibrate
    from toolkit.cli.info import describe, show

    settings = CalibrateSettings(
        bundle=bundle,
        data=data,
        quality_frames=quality_frames,
        precisions=precisions or (),
        int8=int8,
        profiles=profiles,
    )
    with progress_bars() as step:
        result = calibrate(settings, step)
    for remark in result.remarks:
        say(remark)
    if as_json:
        print_json({"remarks": result.remarks, "bundle": describe(result.bundle)})
    else:
        show(result.bundle)
