"""`offramp run`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from jetson.errors import BadInput, DataError
from jetson.files import check_writable, write_file
from jetson.listen import listening, on_port
from jetson.manifest import Manifest, Precision
from jetson.metrics import Metrics
from jetson.profiling.profile import LatencyProfile
from jetson.replay import replay, summarise
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget
from jetson.scheduling.induction import Late
from jetson.scheduling.trace import FrameBudget, load_trace, save_trace
from jetson.serve import Service
from toolkit.cli.console import out, print_json, print_table, progress_bars, say
from toolkit.cli.info import metric, quality
from toolkit.cli.options import BUNDLE, ENGINE, JSON, LATE, LIKE, PRECISION, PRICE_PER_MJ, expected_budgets


@click.command("run")
@BUNDLE
@click.option("--profile", "profile_file", required=True, type=click.Path(path_type=Path), help="Of BUNDLE, made here.")
@click.option("--data", required=True, help="An image, a folder, an .npy or .npz file, or a data set's name.")
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "calibration", "test"]))
@click.option("--budget-ms", type=float, help="The same budget for every frame.")
@click.option(
    "--budget-trace", type=click.Path(path_type=Path), help="CSV file: t_ms,budget_ms[,revise_at_ms,revised_ms]."
)
@click.option("--frames", type=click.IntRange(1), help="Answer so many [default: the trace's lines, or all frames].")
@click.option("--no-pace", is_flag=True, help="Do not wait for the trace's t_ms between frames.")
@click.option("--hidden", is_flag=True, help="Do not tell the budgets: cut when they run out, and take what is there.")
@LIKE
@click.option("--policy", default="planner", show_default=True, help="Who decides; offramp simulate names the others.")
@click.option("--miss-rate", type=float, help="Promise at most this share of late answers, e.g. 0.01.")
@click.option("--price-per-ms", default=0.0, show_default=True, help="What a millisecond is worth, in right answers.")
@PRICE_PER_MJ
@LATE
@click.option("--level", default=0.95, show_default=True, help="Quantile at which the quickest exit must fit a budget.")
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
    profile_file: Path,
    data: str,
    split: str,
    budget_ms: float | None,
    budget_trace: Path | None,
    frames: int | None,
    no_pace: bool,
    hidden: bool,
    like: Path | None,
    policy: str,
    miss_rate: float | None,
    price_per_ms: float,
    price_per_mj: float,
    late: Late,
    level: float,
    record: Path | None,
    record_trace: Path | None,
    metrics_port: int | None,
    metrics_host: str,
    engine: str | None,
    precision: Precision | None,
    as_json: bool,
) -> None:
    """Answer frames of DATA with BUNDLE, each within its budget; a line per frame and a summary.

    Engine and precision are those of the profile, and when given must be. A trace that revises budgets has every
    boundary waited for, and so have budgets that are not told; otherwise TensorRT is given the whole path of a known
    budget at once.
    """
    from toolkit import data as data_sets

    if (budget_ms is None) == (budget_trace is None):
        raise BadInput("give either --budget-ms or --budget-trace")
    if budget_ms is not None:
        Budget.within(budget_ms)  # refuses NaN and negative figures before anything is loaded
    trace = load_trace(budget_trace) if budget_trace is not None else []
    expected = expected_budgets(like, hidden)
    for file in (record, record_trace):
        if file is not None:
            check_writable(file)
    profile = LatencyProfile.load(profile_file)
    revised = any(line.revise_at_ms is not None for line in trace)
    runtime = Runtime.load(
        bundle,
        profile,
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
    part = data_sets.frames(data, split=split).for_channels(runtime.bundle.manifest.preprocessing.channels)
    if len(part.images) == 0:
        raise DataError(f"{data}: no frames in it")
    if budget_ms is not None:
        trace = [FrameBudget(0.0, budget_ms)] * (frames or len(part.images))
    elif frames is not None:
        trace = trace[:frames]
    targets = part.targets if _fits(part.targets, runtime) else None
    if part.targets is not None and targets is None:
        say("the data's labels are not this bundle's task: answers are not judged")
    records: list[dict[str, Any]] = []
    pace = budget_trace is not None and not no_pace
    metrics = Metrics([e.name for e in runtime.bundle.manifest.exits])
    with _told(metrics, metrics_host, metrics_port), progress_bars() as begin:
        done = begin("answering", len(trace))
        for line in replay(runtime, part.images, trace, profile, targets, pace, level, hidden, metrics.count):
            records.append(line)
            if as_json:
                print_json(line)
            done()
    notice = runtime.notice
    runtime.close()
    summary = summarise(records)
    if record_trace is not None:
        came = [replace(line, t_ms=round(r["t_ms"], 3)) for line, r in zip(trace, records, strict=True)]
        save_trace(record_trace, came)
    if record is not None:
        lines = [*records, {"summary": summary}]
        write_file(record, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
    if as_json:
        print_json({"summary": summary})
    else:
        show(summary, runtime.bundle.manifest, profile)
    if notice is not None:
        say(notice)


def _told(metrics: Metrics, host: str, port: int | None) -> contextlib.AbstractContextManager[None]:
    """Metrics can be read on this port, if there is one."""
    if port is None:
        return contextlib.nullcontext()
    server = on_port(Service(None, metrics), host, port)
    say(f"metrics on http://{host}:{server.port}/metrics")
    return listening(server)


def _fits(targets: Any, runtime: Runtime) -> bool:
    manifest = runtime.bundle.manifest
    if targets is None:
        return False
    if manifest.task == "classification":
        return bool(targets.ndim == 1 and targets.dtype.kind in "iu" and targets.max() < manifest.outputs)
    return bool(targets.ndim == 2 and targets.shape[1] == manifest.outputs)


def show(summary: dict[str, Any], manifest: Manifest, profile: LatencyProfile) -> None:
    """A table per exit, and the summary in a line, on stdout."""
    frames, used = summary["frames"], summary["exits"]
    latency = {e.name: e.end_to_end_ms for e in profile.exits}
    worth = f"{metric(manifest)}, {manifest.exits[0].quality[-1].split}"
    print_table(
        "Exits",
        ["exit", "MFLOP", worth, "p50 ms", "p95 ms", "frames", "share"],
        [
            [
                e.name,
                f"{sum(manifest.unit(u).flops for u in e.units) / 1e6:.1f}",
                quality(e.quality[-1]),
                f"{latency[e.name].median:.3f}",
                f"{latency[e.name].quantile(0.95):.3f}",
                f"{used.get(e.name, 0):,}",
                f"{100 * used.get(e.name, 0) / frames:.1f} %",
            ]
            for e in manifest.exits
        ],
    )
    words = {
        "acc_at_d": "acc@D {:.1%} (in time and right)",
        "mean_absolute_error": "mean abs error {:.3f}",
        "miss_rate": "miss rate {:.2%} of the budgets that can be met",
        "infeasible_share": "{:.1%} of the budgets cannot be met",
        "late": "{:,} late",
        "mean_compute_ms": "{:.3f} ms compute a frame",
        "p50_ms": "p50 {:.3f} ms",
        "p99_ms": "p99 {:.3f} ms",
    }
    said = [text.format(summary[key]) for key, text in words.items() if summary[key] is not None]
    out.print(f"{frames:,} frames: " + ", ".join(said), markup=False)
