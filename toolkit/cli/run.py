"""`offramp run`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from jetson.errors import BadInput
from jetson.files import check_writable
from jetson.manifest import Precision
from jetson.replay import on_budget, on_trace
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget
from jetson.scheduling.induction import Late
from jetson.scheduling.trace import load_trace
from toolkit.cli.options import (
    BUNDLE,
    ENGINE,
    JSON,
    LATE,
    LIKE,
    PRECISION,
    PRICE_PER_MJ,
    PROFILES,
    Size,
    expected_budgets,
)
from toolkit.cli.run_loop import Told, answer_all
from toolkit.cli.run_source import Fps, FpsOption, open_source


@click.command("run")
@BUNDLE
@PROFILES
@click.option(
    "--data",
    required=True,
    help="An image, a folder, a video file, camera:0, /dev/video0, gst:PIPELINE, an rtsp:// address, an .npy or .npz "
    "file, or a data set's name.",
)
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "calibration", "test"]))
@click.option("--fps", type=FpsOption(), help="Frames come at this rate; the time between two is the budget of each.")
@click.option("--budget-ms", type=float, help="The same budget for every frame.")
@click.option(
    "--budget-trace", type=click.Path(path_type=Path), help="CSV file: t_ms,budget_ms[,revise_at_ms,revised_ms]."
)
@click.option("--every-frame", is_flag=True, help="Answer frames that came while the device was busy; else the newest.")
@click.option("--no-pace", is_flag=True, help="Frames of files follow one another at once, whatever their times.")
@click.option("--frames", type=click.IntRange(1), help="Answer so many [default: the trace's lines, or all frames].")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after this time.")
@click.option("--camera-size", type=Size(), help="Ask the camera for such frames.")
@click.option("--hidden", is_flag=True, help="Do not tell the budgets: cut when they run out, and take what is there.")
@LIKE
@click.option("--policy", default="planner", show_default=True, help="Who decides; offramp simulate names the others.")
@click.option("--miss-rate", type=float, help="Promise at most this share of late answers, e.g. 0.01.")
@click.option("--price-per-ms", default=0.0, show_default=True, help="What a millisecond is worth, in right answers.")
@PRICE_PER_MJ
@LATE
@click.option("--level", default=0.95, show_default=True, help="Quantile at which the quickest exit must fit a budget.")
@click.option(
    "--live/--no-live", default=None, help="Show how it goes [default: of videos, cameras and --fps, on a terminal]."
)
@click.option(
    "--answers/--no-answers", default=None, help="Print every answer [default: of up to 50 images without labels]."
)
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="Classes that an answer names.")
@click.option("--record", type=click.Path(path_type=Path), help="Write the lines of --json to this file too.")
@click.option(
    "--record-trace", type=click.Path(path_type=Path), help="Write when frames came and their budgets, as CSV."
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Counts for Prometheus, on this port; 0: any free.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Who may read them: 0.0.0.0 is everybody.")
@ENGINE
@PRECISION
@JSON
def command(
    bundle: Path,
    profile_files: tuple[Path, ...],
    data: str,
    split: str,
    fps: Fps | None,
    budget_ms: float | None,
    budget_trace: Path | None,
    every_frame: bool,
    no_pace: bool,
    frames: int | None,
    seconds: float | None,
    camera_size: tuple[int, int] | None,
    hidden: bool,
    like: Path | None,
    policy: str,
    miss_rate: float | None,
    price_per_ms: float,
    price_per_mj: float,
    late: Late,
    level: float,
    live: bool | None,
    answers: bool | None,
    top: int,
    record: Path | None,
    record_trace: Path | None,
    metrics_port: int | None,
    metrics_host: str,
    engine: str | None,
    precision: Precision | None,
    as_json: bool,
) -> None:
    """Answer images, videos and cameras with BUNDLE, each frame within its budget, and sum up how it went.

    Without --fps, --budget-ms or --budget-trace there is no limit. A camera's run ends with Ctrl-C, --frames or
    --seconds.

    Engine and precision are those of the profile, and when given must be. A trace that revises budgets has every
    boundary waited for, and so have budgets that are not told; otherwise TensorRT is given the whole path of a known
    budget at once.
    """
    if sum(given is not None for given in (fps, budget_ms, budget_trace)) > 1:
        raise BadInput("give one of --fps, --budget-ms and --budget-trace")
    if budget_ms is not None:
        Budget.within(budget_ms)  # refuses NaN and negative figures before anything is loaded
    trace = load_trace(budget_trace) if budget_trace is not None else None
    expected = expected_budgets(like, hidden)
    for file in (record, record_trace):
        if file is not None:
            check_writable(file)
    revised = any(line.revise_at_ms is not None for line in trace or ())
    runtime = Runtime.load(
        bundle,
        profile_files,
        engine=engine,
        precision=precision,
        policy=policy,
        miss_rate=miss_rate,
        price_per_ms=price_per_ms,
        price_per_mj=price_per_mj,
        late=late,
        budgets_ms=expected,
        level=level,
        ahead=not (revised or hidden),
    )
    profile = runtime.profile
    assert profile is not None
    with contextlib.closing(runtime):
        source = open_source(
            data,
            runtime.bundle.manifest,
            split=split,
            fps=fps,
            budget_ms=budget_ms,
            traced=trace is not None,
            every_frame=every_frame,
            pace=not no_pace,
            camera_size=camera_size,
            repeat=trace is not None or frames is not None,
        )
        with source.stream:
            if trace is not None:
                come = on_trace(source.stream, trace[:frames], pace=not (no_pace or source.stream.live))
            else:
                come = on_budget(source.stream, source.budget_ms)
            known = [n for n in (frames, source.count, None if trace is None else len(trace)) if n is not None]
            told = Told(
                data=data,
                frames=min(known) if known and not source.stream.comes else frames,
                seconds=seconds,
                live=live,
                answers=answers,
                top=top,
                as_json=as_json,
                record=record,
                record_trace=record_trace,
                metrics=None if metrics_port is None else (metrics_host, metrics_port),
            )
            answer_all(runtime, source, come, profile, level, hidden, told)
