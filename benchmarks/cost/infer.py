"""`Runtime.infer` against the bare units that it ran: what decisions, answers and bookkeeping take, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.exported import cut_model, folder_of, folder_option, opened
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, tell
from benchmarks.paper.tables import rows_of
from jetson.engines import Engines
from jetson.profiling.measure import measure
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget
from jetson.scheduling.policy import FrameEnd, Policy, State

NAME = "infer"
STAGES = {
    "begin": "begin",
    "preprocess": "preprocessing",
    "decide": "decisions",
    "engine": "units",
    "read": "reading answers",
    "observe": "learning from units",
    "walk": "walk between them",
    "answer": "answer",
    "finish": "learning from the frame",
}
"""What a frame's time goes to, and what tables call it. All but preprocessing and units is bookkeeping."""
SHOWN = ("boundary_us", 1.0, 1), ("share", 100.0, 2), ("ratio", 1.0, 3)
"""What the table gives of a case, times what, with how many decimals."""


class Laps:
    """Time of one frame by stage: every hook of the runtime ends a lap."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """A frame begins."""
        self.taken = dict.fromkeys(STAGES, 0.0)
        self.boundaries = 0
        self.last = perf_counter()

    def end(self, stage: str) -> None:
        """What went by since the last lap went to this stage."""
        now = perf_counter()
        self.taken[stage] += now - self.last
        self.last = now


class TimedEngines:
    """Engines that end laps."""

    def __init__(self, engines: Engines, laps: Laps) -> None:
        self._engines, self._laps, self._reading = engines, laps, False
        self.info, self.precisions, self.ahead = engines.info, engines.precisions, engines.ahead
        self.memory, self.input = engines.memory, engines.input

    def run(self, unit: int) -> None:
        """One boundary more."""
        self._laps.end("walk")
        self._engines.run(unit)
        self._laps.end("engine")
        self._laps.boundaries += 1

    def run_path(self, units: Sequence[int]) -> None:
        """The same of several."""
        self._laps.end("walk")
        self._engines.run_path(units)
        self._laps.end("engine")
        self._laps.boundaries += len(units)

    def output(self, unit: int) -> Any:
        """Reading an answer begins."""
        self._reading = True
        return self._engines.output(unit)

    def gpu_ms(self, unit: int) -> float | None:
        """Reading an answer has ended, if it had begun."""
        self._laps.end("read" if self._reading else "walk")
        self._reading = False
        return self._engines.gpu_ms(unit)

    def close(self) -> None:
        """Free them."""
        self._engines.close()


class TimedPolicy:
    """A policy that ends laps."""

    def __init__(self, policy: Policy, laps: Laps) -> None:
        self._policy, self._laps = policy, laps
        self.name = policy.name
        self._first = True

    @property
    def slowdown(self) -> float:
        """The policy's."""
        return self._policy.slowdown

    @property
    def notice(self) -> str | None:
        """The policy's."""
        return self._policy.notice

    def begin(self, gap_ms: float) -> None:
        """Everything up to the first decision is preprocessing."""
        self._policy.begin(gap_ms)
        self._laps.end("begin")
        self._first = True

    def commit(self, state: State) -> int | None:
        """Not timed apart."""
        return self._policy.commit(state)

    def decide(self, state: State) -> int:
        """One decision."""
        self._laps.end("preprocess" if self._first else "walk")
        self._first = False
        action = self._policy.decide(state)
        self._laps.end("decide")
        return action

    def observe(self, unit: int, elapsed_ms: float | None, gpu_ms: float | None = None) -> None:
        """One unit learnt from."""
        self._laps.end("walk")
        self._policy.observe(unit, elapsed_ms, gpu_ms)
        self._laps.end("observe")

    def finish(self, end: FrameEnd) -> None:
        """The frame learnt from; what comes after is the answer's way back."""
        self._laps.end("answer")
        self._policy.finish(end)
        self._laps.end("finish")


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
    known = Budget.within(ms=20.0 * float(profile.exits[-1].end_to_end_ms.quantile(0.99)))
    return [
        {"exits": len(bundle.manifest.exits), "budget": name} | _timed(runtime, budget, frames)
        for name, budget in (("known", known), ("hidden", Budget.unknown()))
    ]


def _timed(runtime: Runtime, budget: Budget, frames: int) -> dict[str, Any]:
    shape = runtime.bundle.manifest.preprocessing
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, shape.height, shape.width, shape.channels), dtype=np.uint8)
    engines, laps = runtime.engines, Laps()
    timed = Runtime(runtime.bundle, TimedEngines(engines, laps), TimedPolicy(runtime.policy, laps))
    index = {unit.name: i for i, unit in enumerate(runtime.bundle.manifest.units)}
    stages: list[dict[str, float]] = []
    ratios, over, shares = [], [], []
    boundaries = []
    for frame in range(-frames // 10, frames):
        began = perf_counter()
        answer = runtime.infer(pixels[frame % 4], budget)
        whole = perf_counter() - began
        path = [index[run.unit] for run in answer.trace]
        inside = sum(run.host_ms for run in answer.trace) / 1e3
        began = perf_counter()
        for unit in path:
            engines.run(unit)
        bare = perf_counter() - began
        laps.start()
        timed.infer(pixels[frame % 4], budget)
        laps.end("answer")
        if frame < 0:
            continue
        stages.append(laps.taken)
        boundaries.append(len(path))
        kept = whole - inside - laps.taken["preprocess"]
        ratios.append(whole / bare)
        over.append(kept / len(path) * 1e6)
        shares.append(kept / whole)
    return {
        "boundaries": float(np.median(boundaries)),
        "stages_us": {stage: _spread([t[stage] * 1e6 for t in stages]) for stage in STAGES},
        "boundary_us": _spread(over),
        "share": _spread(shares),
        "ratio": _spread(ratios),
        "frames": frames,
    }


def _spread(values: Sequence[float]) -> list[float]:
    """Median, 10 % and 90 % quantile."""
    return [round(float(v), 6) for v in np.quantile(values, (0.5, 0.1, 0.9))]


def main(words: list[str] | None = None) -> None:
    parser = parser_for(NAME, __doc__)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small"], choices=("tiny", "small", "base"))
    parser.add_argument("--exits", nargs="+", type=int, default=[4, 12], help="divisors of 12")
    parser.add_argument("--threads", type=int, default=1, help="of the engines")
    parser.add_argument("--seconds", type=float, default=10.0, help="to profile a model for")
    parser.add_argument("--frames", type=int, default=200, help="of each budget")
    parser.add_argument("--image", type=int, default=224, help="edge, pixels")
    parser.add_argument("--patch", type=int, default=16, help="edge, pixels")
    folder_option(parser)
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
        us, share, ratio = ([f"{scale * v:.{digits}f}" for v in case[key]] for key, scale, digits in SHOWN)
        cells = [f"{middle} ({low} to {high})" for middle, low, high in (us, share, ratio)]
        rows.append([*_titles(case), f"{case['boundaries']:g}", *cells])
    stages = [
        [*_titles(case), *(f"{case['stages_us'][stage][0]:.0f}" for stage in STAGES if stage != "engine")]
        for case in cases
    ]
    return (
        "Frames through `Runtime.infer` with the planner: what is neither preprocessing nor inside a unit is "
        "bookkeeping. Medians (10 % and 90 % quantile); the ratio is of a frame, preprocessing included, to the units "
        f"that it ran, run bare right after it. {recorded.settings['threads']} thread, "
        f"{min(c['frames'] for c in cases)} frames. {setting(recorded)}.\n\n"
        + rows_of(
            ["model", "exits", "budget", "units", "bookkeeping per unit, µs", "of the frame, %", "frame / units"],
            rows,
            words=3,
        )
        + "\n\nWhere it goes, in microseconds of a frame watched at every stage (watching costs time itself):\n\n"
        + rows_of(["model", "exits", "budget", *(w for s, w in STAGES.items() if s != "engine")], stages, words=3)
    )


def _titles(case: dict[str, Any]) -> list[str]:
    return [f"ViT-{case['size']}", str(case["exits"]), case["budget"]]


if __name__ == "__main__":
    one_line(main)
