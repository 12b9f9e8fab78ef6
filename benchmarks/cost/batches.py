"""`Runtime.infer_many` with batches against without, on frames of several streams that come together.

Budgets and worths are those of `benchmarks.cost.streams`. Both ways take turns on the clock with the same budgets, each
with a planner of its own. The profile that decides on batches is measured first, in the same process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost import record
from benchmarks.cost.record import Recorded
from benchmarks.cost.streams import Answered, draw, summed, together, worth_bundle
from benchmarks.paper.tables import rows_of
from jetson.answer import Answer
from jetson.profiling.measure import measure
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget
from jetson.scheduling.planner import Planner
from jetson.streams import even_share

CASES = (("tiny 56 8", 1, 1), ("tiny 56 8", 2, 1), ("tiny 224 16", 1, 4))
"""Models (size, image, patch), threads, and of how many rounds one is run."""


def main() -> None:
    parser = record.parser_for("batches", __doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--loads", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--rounds", type=int, default=100, help="of frames from every stream, for each load")
    parser.add_argument("--profile-seconds", type=float, default=8.0)
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8], help="sizes that the profile measures")
    parser.add_argument("--seed", type=int, default=0)
    options = o = parser.parse_args()
    rows = []
    for model, threads, of in CASES:
        rounds = max(o.rounds // of, 1)
        arguments = (o.streams, o.loads, rounds, o.profile_seconds, o.batches, o.seed)
        rows += record.in_process(in_batches, model, threads, *arguments)
    record.record("batches", options, {"rows": rows})


def in_batches(
    model: str,
    threads: int,
    streams: Sequence[int],
    loads: Sequence[float],
    rounds: int,
    seconds: float,
    batches: Sequence[int],
    seed: int,
) -> list[dict[str, Any]]:
    """Both ways, in turn on the clock, in a process of its own.

    Args:
        model: size, image and patch.
        threads: of ONNX Runtime.
        streams: frames at once.
        loads: as of `draw`.
        rounds: for each number of streams and load.
        seconds: of the profile.
        batches: sizes that it measures.
        seed: of frames and budgets.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = worth_bundle(Path(folder), model)
        profile = measure(bundle, threads=threads, seconds=seconds, batches=batches)
        runtime = Runtime.load(bundle, profile)
        ways: dict[str, Answered] = {"one": partial(together, even_share), "batches": as_shipped}
        policies = {way: Planner.of(bundle, profile) for way in ways}
        ratios = {
            b.frames: [
                at_once.end_to_end_ms.median / in_turn.end_to_end_ms.median
                for at_once, in_turn in zip(b.exits, b.in_turn, strict=True)
            ]
            for b in profile.batches
        }
        rng, rows = np.random.default_rng(seed), []
        worth = [e.quality[0].value for e in bundle.manifest.exits]
        p = bundle.manifest.preprocessing
        for count in streams:
            for load in loads:
                tally: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
                grouped: list[float] = []
                for _ in range(rounds):
                    frames = list(rng.integers(0, 256, (count, p.height, p.width, p.channels), dtype=np.uint8))
                    budgets = draw(profile, count, load, rng)
                    for way in rng.permutation(list(ways)):
                        runtime.policy = policies[way]
                        answers = ways[way](runtime, frames, budgets)
                        tally[way].append(told(answers, budgets, worth))
                        if way == "batches":
                            grouped.append(float(np.mean([a.together > 1 for a in answers])))
                found = summed(tally, "one")
                case = {"model": model, "threads": threads, "streams": count, "load": load, "rounds": rounds}
                rows.append(case | {"ways": found, "grouped": float(np.mean(grouped)), "ratios": ratios})
                gain = f"{100 * found['batches']['gain']:+.1f} points, {100 * np.mean(grouped):.0f} % in batches"
                record.tell(f"{model}, {threads} threads, {count} streams, load {load}: {gain}")
        runtime.close()
        return rows


def as_shipped(runtime: Runtime, frames: Sequence[Any], budgets: Sequence[float]) -> list[Answer]:
    """`infer_many` itself."""
    return runtime.infer_many(frames, [Budget.within(budget) for budget in budgets])


def told(answers: Sequence[Answer], budgets: Sequence[float], worth: Sequence[float]) -> tuple[float, float, float]:
    """acc@D, the share in time, and when the last answer came, in milliseconds."""
    in_time = np.array([a.elapsed_ms <= b for a, b in zip(answers, budgets, strict=True)])
    right = in_time * np.array([worth[a.exit - 1] for a in answers])
    return float(right.mean()), float(in_time.mean()), max(a.elapsed_ms for a in answers)


def table(recorded: Recorded) -> str:
    """What the profile says of batches, then what `infer_many` gives with them and without."""
    rows = recorded.figures["rows"]
    cases = {(r["model"], r["threads"]): r["ratios"] for r in rows}
    sizes = list(next(iter(cases.values())))
    costs, lines = [], []
    for (model, threads), ratios in cases.items():
        costs.append([_name(model), str(threads), *(", ".join(f"{r:.2f}" for r in ratios[s]) for s in sizes)])
    for row in rows:
        one, batches = row["ways"]["one"], row["ways"]["batches"]
        cells = [f"{100 * w['acc_at_d']:.1f} ({100 * w['in_time']:.0f})" for w in (one, batches)]
        gain = f"{100 * batches['gain']:+.1f} ± {200 * batches['error']:.1f}"
        case = [_name(row["model"]), str(row["threads"]), str(row["streams"]), f"{row['load']:g}"]
        lines.append([*case, *cells, gain, f"{100 * row['grouped']:.0f} %", str(row["rounds"])])
    return (
        "Time of a batch over that of as many frames one right after another, to each exit in order, medians of the "
        f"profile; {record.setting(recorded)}.\n\n"
        + rows_of(["model", "threads", *(f"{s} frames" for s in sizes)], costs)
        + "\n\nacc@D in percent without and with batches, in brackets the percentage answered in time; the gain with "
        "two standard errors, and the share of the frames that were answered together with others.\n\n"
        + rows_of(
            ["model", "threads", "streams", "load", "without", "with", "gain, points", "together", "rounds"], lines
        )
    )


def _name(model: str) -> str:
    size, image, _ = model.split()
    return f"ViT-{size} {image}"


if __name__ == "__main__":
    one_line(main, "no figures were written")
