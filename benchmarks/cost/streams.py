"""Several cameras on one device: the order and the shares of `Runtime.infer_many`, and whether batches pay.

Frames of several streams come together, each with a budget drawn evenly from what the quickest exit takes up to a share
(`--loads`) of what the last exit takes for all of them. Ways to answer them take turns on the clock. What an exit is
worth is what the exit after the same layer is worth in the recorded experiment on CIFAR-10.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.command import one_line
from benchmarks.cost import record
from benchmarks.cost.record import Recorded
from benchmarks.paired import compare
from benchmarks.paper.tables import rows_of
from jetson.answer import Answer
from jetson.bundle import Bundle
from jetson.manifest import BATCH
from jetson.profiling.measure import measure
from jetson.profiling.profile import LatencyProfile
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.scheduling.planner import Planner
from jetson.streams import Needs, Share, answer_all, even_share, since_call

LAYERS = (3, 6, 9)
"""Of the early exits."""
BRANCH = "mlp"
MODEL = "tiny 56 8"
"""Size, image and patch."""
WAYS = {
    "given": "in the order given",
    "due": "first due first",
    "kept": "and needs kept free",
    "even": "`infer_many`",
}
BATCHED = ("tiny 56 8", "tiny 224 16", "small 224 16")
"""Size, image and patch of models that are tried in batches."""
Answered = Callable[[Runtime, Sequence[Any], Sequence[float]], list[Answer]]


def main() -> None:
    parser = record.parser_for("streams", __doc__)
    parser.add_argument("--streams", type=int, nargs="*", default=[2, 4, 8], help="none compares no orders")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--rounds", type=int, default=150, help="of frames from every stream, for each load")
    parser.add_argument("--profile-seconds", type=float, default=8.0)
    parser.add_argument("--batches", type=int, nargs="*", default=[2, 4, 8], help="none tries no batches")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the batches")
    parser.add_argument("--pairs", type=int, default=15, help="of runs, for each batch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        o = options
        rows = shared(Path(folder), o.streams, o.loads, o.rounds, o.profile_seconds, o.seed)
    batches = []
    for model in BATCHED if options.batches else ():
        for threads in options.threads:
            found = record.in_process(batched, model, options.batches, threads, options.pairs)
            batches += found
            for row in found:
                record.tell(f"{model}, {threads} threads, {row['batch']} frames: {row['ratio']:.3f}")
    record.record("streams", options, {"rows": rows, "batches": batches})


def shared(
    folder: Path, streams: Sequence[int], loads: Sequence[float], rounds: int, seconds: float, seed: int
) -> list[dict[str, Any]]:
    """Ways to share one device, in turn on the clock."""
    bundle = worth_bundle(folder, MODEL)
    profile = measure(bundle, threads=1, seconds=seconds)
    runtime = Runtime.load(bundle, profile)
    policies = {way: Planner.of(bundle, profile) for way in WAYS}
    rng, rows = np.random.default_rng(seed), []
    worth = [e.quality[0].value for e in bundle.manifest.exits]
    p = bundle.manifest.preprocessing
    for count in streams:
        for load in loads:
            tally: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                frames = list(rng.integers(0, 256, (count, p.height, p.width, p.channels), dtype=np.uint8))
                budgets = draw(profile, count, load, rng)
                for way in rng.permutation(list(WAYS)):
                    runtime.policy = policies[way]
                    answers = METHODS[way](runtime, frames, budgets)
                    in_time = np.array([a.elapsed_ms <= b for a, b in zip(answers, budgets, strict=True)])
                    right = in_time * np.array([worth[a.exit - 1] for a in answers])
                    last = max(a.elapsed_ms for a in answers)
                    tally[way].append((right.mean(), in_time.mean(), last))
            found = summed(tally)
            rows.append({"streams": count, "load": load, "ways": found})
            told = ", ".join(f"{w} {100 * v['acc_at_d']:.1f} %" for w, v in found.items())
            record.tell(f"{count} streams, load {load}: {told}")
    runtime.close()
    return rows


def worth_bundle(folder: Path, model: str) -> Bundle:
    """A ViT with random weights, its exits worth what those of the recorded experiment were found to be.

    Args:
        folder: to write it to.
        model: size, image and patch.
    """
    from benchmarks.models import cut_bundle, random_model
    from benchmarks.paper.summary import load
    from toolkit.models.config import ExitConfig

    summary = load(record.RESULTS / "cifar10.json")
    size, image, patch = model.split()
    exits = tuple(ExitConfig(layer=layer, architecture=BRANCH) for layer in LAYERS)
    bundle = cut_bundle(random_model(size, int(image), int(patch), exits), folder)
    known = {(e.layer, e.branch): e.test.mean for e in summary.exits}
    found = []
    for e in bundle.manifest.exits:
        value = known.get((e.layer, e.architecture), summary.head.test.mean)
        found.append(msgspec.structs.replace(e, quality=(msgspec.structs.replace(e.quality[0], value=value),)))
    return Bundle(folder, msgspec.structs.replace(bundle.manifest, exits=tuple(found)))


def draw(profile: LatencyProfile, count: int, load: float, rng: np.random.Generator) -> list[float]:
    """Budgets in milliseconds."""
    quickest = min(float(e.end_to_end_ms.quantile(0.95)) for e in profile.exits)
    most = load * count * profile.exits[-1].end_to_end_ms.median
    return [quickest + float(u) * most for u in rng.random(count)]


def in_order(runtime: Runtime, frames: Sequence[Any], budgets: Sequence[float]) -> list[Answer]:
    """One after another as they were given; the time of all counts from now."""
    start, found = clock(), []
    for frame, budget in zip(frames, budgets, strict=True):
        began = clock()
        answer = runtime.infer(frame, Budget.until(start + budget / 1e3))
        found.append(since_call(answer, began - start, budget / 1e3, "lost"))
    return found


def together(share: Share, runtime: Runtime, frames: Sequence[Any], budgets: Sequence[float]) -> list[Answer]:
    """As `infer_many`, the time shared out in another way."""
    limits = [Budget.within(budget) for budget in budgets]
    return answer_all(frames, limits, clock(), runtime.policy, runtime._one, "lost", share)


def no_share(now: float, needs: Needs, deadlines: Sequence[float]) -> float:
    """All the time that is left, whoever waits."""
    return deadlines[0]


def needs_kept(now: float, needs: Needs, deadlines: Sequence[float]) -> float:
    """All but what the quickest way of each that waits needs."""
    return min(deadline - n * needs.least for n, deadline in enumerate(deadlines))


METHODS: dict[str, Answered] = {
    "given": in_order,
    "due": partial(together, no_share),
    "kept": partial(together, needs_kept),
    "even": partial(together, even_share),
}


def summed(tally: dict[str, list[tuple[float, float, float]]], first: str = "given") -> dict[str, dict[str, float]]:
    """Means over the rounds, and the standard error of what each way gives more than the first on the same budgets."""
    base = np.array(tally[first])
    found = {}
    for way, rows in tally.items():
        values = np.array(rows)
        gain = values[:, 0] - base[:, 0]
        found[way] = {
            "acc_at_d": float(values[:, 0].mean()),
            "in_time": float(values[:, 1].mean()),
            "last_ms": float(np.median(values[:, 2])),
            "gain": float(gain.mean()),
            "error": float(gain.std() / np.sqrt(len(gain))),
        }
    return found


def batched(model: str, batches: Sequence[int], threads: int, pairs: int) -> list[dict[str, Any]]:
    """The whole model on several frames at once against as many times one, in a process of its own.

    Args:
        model: size, image and patch, and layers where they are not 12.
        batches: frames at once.
        threads: of ONNX Runtime.
        pairs: of runs.
    """
    import onnxruntime as ort

    from benchmarks.models import random_model, whole_bundle

    size, image, patch, *layers = model.split()
    ort.set_default_logger_severity(3)
    ort.set_global_thread_pool_sizes(threads, 1)
    with tempfile.TemporaryDirectory() as folder:
        bundle = whole_bundle(random_model(size, int(image), int(patch), (), *map(int, layers)), Path(folder))
        unit = bundle.manifest.units[0]

        def runner(frames: int) -> Callable[[], object]:
            settings = ort.SessionOptions()
            settings.use_per_session_threads = False
            settings.add_free_dimension_override_by_name(BATCH, frames)
            session = ort.InferenceSession(str(bundle.file(unit)), settings, providers=["CPUExecutionProvider"])
            pixels = np.random.default_rng(0).normal(size=(frames, *unit.input.shape[1:])).astype(np.float32)
            return partial(session.run, None, {unit.input.name: pixels})

        one, found = runner(1), []
        for batch in batches:

            def in_turn(times: int = batch) -> None:
                for _ in range(times):
                    one()

            ratio = compare(f"{model}, {batch}", runner(batch), in_turn, pairs)
            found.append({"model": model, "threads": threads, "batch": batch, **asdict(ratio)})
    return found


def table(recorded: Recorded) -> str:
    """What share of the frames is answered rightly and in time, each way; then what a batch costs."""
    figures, settings = recorded.figures, recorded.settings
    ways = list(WAYS)
    lines = []
    for row in figures["rows"]:
        of = row["ways"]
        cells = [f"{100 * of[w]['acc_at_d']:.1f} ({100 * of[w]['in_time']:.0f})" for w in ways]
        even = of["even"]
        gain = f"{100 * even['gain']:+.1f} ± {200 * even['error']:.1f}"
        lines.append([str(row["streams"]), f"{row['load']:g}", *cells, gain])
    text = (
        f"acc@D in percent, in brackets the percentage answered in time; means of {settings['rounds']} rounds in "
        f"which the ways took turns on the same budgets, {record.setting(recorded)}, one thread. Budgets lie between "
        "what the quickest exit takes and that plus `load` times what the last exit takes for all streams. The last "
        "column is `infer_many` less the first way, with two standard errors.\n\n"
        + rows_of(["streams", "load", *(WAYS[w] for w in ways), "gain, points"], lines, words=0)
    )
    if not figures["batches"]:
        return text
    batches = sorted({b["batch"] for b in figures["batches"]})
    cases = dict.fromkeys((b["model"], b["threads"]) for b in figures["batches"])
    lines = []
    for model, threads in cases:
        size, image, *_ = model.split()
        of = {b["batch"]: b for b in figures["batches"] if (b["model"], b["threads"]) == (model, threads)}
        cells = [f"{of[b]['ratio']:.2f} ({of[b]['low']:.2f} to {of[b]['high']:.2f})" for b in batches]
        lines.append([f"ViT-{size} {image}", str(threads), *cells])
    return (
        f"{text}\n\nTime of a batch through the whole model over that of its frames one after another, medians of "
        f"{settings['pairs']} pairs with the 10 % and 90 % quantiles.\n\n"
        + rows_of(["model", "threads", *(f"{b} frames" for b in batches)], lines)
    )


if __name__ == "__main__":
    one_line(main, "no figures were written")
