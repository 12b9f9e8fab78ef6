"""`Runtime.infer` against the bare units that it ran: what decisions, answers and bookkeeping take, stage by stage."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.exported import cases_option, cut_model, folder_of, opened
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, spread, tell
from benchmarks.cost.watch import STAGES, Ending, Laps, TimedEngines, TimedPolicy
from benchmarks.paper.tables import rows_of
from jetson.profiling.measure import measure
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget

NAME = "infer"
SHOWN = ("boundary_us", 1.0, 1), ("frame_us", 1.0, 0), ("share", 100.0, 2), ("ratio", 1.0, 3)
"""What the table gives of a case, times what, with how many decimals."""


def measured(folder: Path, threads: int, seconds: float, frames: int) -> list[dict[str, Any]]:
    """Profile a model on the spot, and time frames with a known and with a hidden budget.

    Args:
        folder: of the bundle.
        threads: of the engines.
        seconds: to profile for.
        frames: to time of each budget, as often as the bare units.

    Returns:
        Of each budget: the boundaries of a frame, microseconds per stage of a frame (median, 10 % and 90 % quantile),
        of bookkeeping per boundary and as a share of the frame, and the paired ratio of a frame to its bare units.
        Stages are of frames with a watch at every stage, which costs time itself; the rest is of frames without.
    """
    bundle = opened(folder)
    profile = measure(bundle, threads=threads, seconds=seconds)
    runtime = Runtime.load(bundle, profile)
    whole_ms = profile.exits[-1].end_to_end_ms
    known = Budget.within(ms=20.0 * float(whole_ms.quantile(0.99)))
    return [
        {"exits": len(bundle.manifest.exits), "budget": name} | _timed(runtime, budget, whole_ms.median / 1e3, frames)
        for name, budget in (("known", known), ("hidden", None))
    ]


def _timed(loaded: Runtime, known: Budget | None, usual: float, frames: int) -> dict[str, Any]:
    """Frames with a budget; without one each ends after half to one and a half times the usual seconds."""
    ending = Ending(loaded.engines)
    runtime = Runtime(loaded.bundle, ending, loaded.policy)
    shape = runtime.bundle.manifest.preprocessing
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, shape.height, shape.width, shape.channels), dtype=np.uint8)
    engines, laps = loaded.engines, Laps()
    timed = Runtime(loaded.bundle, TimedEngines(ending, laps), TimedPolicy(loaded.policy, laps))
    index = {unit.name: i for i, unit in enumerate(runtime.bundle.manifest.units)}
    stages: list[dict[str, float]] = []
    ratios, between, once, shares = [], [], [], []
    boundaries = []
    for frame in range(-frames // 10, frames):
        after = usual * rng.uniform(0.5, 1.5)
        budget = ending.budget(known, after)
        began = perf_counter()
        answer = runtime.infer(pixels[frame % 4], budget)
        whole = perf_counter() - began
        path = [index[run.unit] for run in answer.trace]
        inside = sum(run.host_ms for run in answer.trace) / 1e3
        spent = (answer.trace[-1].start_ms + answer.trace[-1].host_ms - answer.trace[0].start_ms) / 1e3 - inside
        began = perf_counter()
        for unit in path:
            engines.run(unit)
        bare = perf_counter() - began
        budget = ending.budget(known, after)
        laps.start()
        timed.infer(pixels[frame % 4], budget)
        laps.end("answer")
        if frame < 0:
            continue
        stages.append(laps.taken)
        boundaries.append(len(path))
        kept = whole - inside - laps.taken["preprocess"]
        ratios.append(whole / bare)
        between.append(spent / max(len(path) - 1, 1) * 1e6)
        once.append((kept - spent) * 1e6)
        shares.append(kept / whole)
    return {
        "boundaries": float(np.median(boundaries)),
        "stages_us": {stage: spread([t[stage] * 1e6 for t in stages]) for stage in STAGES},
        "boundary_us": spread(between),
        "frame_us": spread(once),
        "share": spread(shares),
        "ratio": spread(ratios),
        "frames": frames,
    }


def main(words: list[str] | None = None) -> None:
    parser = parser_for(NAME, __doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="to profile a model for")
    parser.add_argument("--frames", type=int, default=200, help="of each budget")
    cases_option(parser)
    options = parser.parse_args(words)
    found = []
    with folder_of(options) as folder:
        for size in options.sizes:
            for exits in options.exits:
                cut = cut_model(folder, size, exits, options.image, options.patch)
                for case in in_process(measured, cut, options.threads, options.seconds, options.frames):
                    tell(f"ViT-{size}, {exits} exits, {case['budget']}: {case['boundary_us'][0]:.1f} us a boundary")
                    found.append({"size": size} | case)
    record(NAME, options, {"cases": found})


def table(recorded: Recorded) -> str:
    """Bookkeeping per boundary, and where a frame's time goes."""
    cases = recorded.figures["cases"]
    rows = []
    for case in cases:
        cells = [
            "{} ({} to {})".format(*(f"{scale * v:.{digits}f}" for v in case[key])) for key, scale, digits in SHOWN
        ]
        rows.append([*_titles(case), f"{case['boundaries']:g}", *cells])
    stages = [
        [*_titles(case), *(f"{case['stages_us'][stage][0]:.0f}" for stage in STAGES if stage != "engine")]
        for case in cases
    ]
    return (
        "Frames through `Runtime.infer` with the planner: what is neither preprocessing nor inside a unit is "
        "bookkeeping. Medians (10 % and 90 % quantile); the ratio is of a frame, preprocessing included, to the units "
        f"that it ran, run bare right after it. Hidden budgets end after half to one and a half times the usual time "
        f"to the last exit. {recorded.settings['threads']} thread, "
        f"{min(c['frames'] for c in cases)} frames. {setting(recorded)}.\n\n"
        + rows_of(
            [
                "model",
                "exits",
                "budget",
                "units",
                "between two units, µs",
                "once a frame, µs",
                "of the frame, %",
                "frame / units",
            ],
            rows,
            words=3,
        )
        + "\n\nWhere it goes, in microseconds of a frame watched at every stage (watching costs time itself):\n\n"
        + rows_of(["model", "exits", "budget", *(w for s, w in STAGES.items() if s != "engine")], stages, words=3)
    )


def _titles(case: dict[str, Any]) -> list[str]:
    return [f"ViT-{case['size']}", str(case["exits"]), case["budget"]]


if __name__ == "__main__":
    one_line(main, "no figures were written")
