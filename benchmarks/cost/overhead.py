"""The chain of units against the whole model in one graph, both in ONNX Runtime with the pool and arena they share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.exported import DEPTH, cut_model, folder_of, folder_option, opened, whole_model
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, tell
from benchmarks.paired import compare
from benchmarks.paper.tables import rows_of
from jetson.bundle import Bundle
from jetson.engines import Engines, load_engines
from jetson.scheduling.paths import Paths

NAME = "overhead"
SIZES = ("tiny", "small", "base")


def measured(cuts: list[Path], whole: Path, threads: int, pairs: int) -> list[dict[str, Any]]:
    """Time the path to the last exit of a cut model, and the whole model, in turn.

    Args:
        cuts: folders of the one, cut in several ways,
        whole: and of the other.
        threads: of both.
        pairs: of runs.

    Returns:
        Of each the paired ratio, and the largest difference between the two outputs.
    """
    base = load_engines(opened(whole), threads=threads)
    return [_compared(opened(cut), base, threads, pairs) for cut in cuts]


def _compared(bundle: Bundle, base: Engines, threads: int, pairs: int) -> dict[str, Any]:
    parts = load_engines(bundle, threads=threads)
    paths = Paths.of(bundle.manifest)
    path = [*paths.segments, paths.branches[-1]]
    parts.input[...] = np.random.default_rng(0).normal(size=parts.input.shape)
    base.input[...] = parts.input

    def chain() -> None:
        for unit in path:
            parts.run(unit)

    base.run(0)
    chain()
    difference = float(np.abs(base.output(0) - parts.output(path[-1])).max())
    found = asdict(compare(bundle.path.name, chain, lambda: base.run(0), pairs)) | {"difference": difference}
    parts.close()
    return found


def main(words: list[str] | None = None) -> None:
    parser = parser_for(NAME, __doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES, help="of the ViT")
    parser.add_argument("--cuts", nargs="+", type=int, default=[1, 2, 4, 6, 12], help="segments, divisors of 12")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of the engines")
    parser.add_argument("--pairs", type=int, default=200, help="runs of both; a third as many of base")
    parser.add_argument("--image", type=int, default=224, help="edge, pixels")
    parser.add_argument("--patch", type=int, default=16, help="edge, pixels")
    folder_option(parser)
    options = parser.parse_args(words)
    if any(cuts < 1 or DEPTH % cuts for cuts in options.cuts):
        parser.error(f"{DEPTH} layers can be cut into 1, 2, 3, 4, 6 or 12 segments")
    found = []
    with folder_of(options) as folder:
        for size in options.sizes:
            whole = whole_model(folder, size, options.image, options.patch)
            pairs = max(options.pairs // (3 if size == "base" else 1), 3)
            cuts = [cut_model(folder, size, n, options.image, options.patch) for n in options.cuts]
            for threads in options.threads:
                ratios = in_process(measured, cuts, whole, threads, pairs)
                for count, ratio in zip(options.cuts, ratios, strict=True):
                    tell(f"ViT-{size}, {count} segments, {threads} threads: {ratio['ratio']:.3f}")
                    found.append({"size": size, "cuts": count, "threads": threads} | ratio)
    record(NAME, options, {"ratios": found})


def table(recorded: Recorded) -> str:
    """Time of the chain over the whole model's, by cuts."""
    settings, found = recorded.settings, recorded.figures["ratios"]
    by = {(f["size"], f["cuts"], f["threads"]): f for f in found}
    rows = []
    for size in settings["sizes"]:
        for threads in settings["threads"]:
            cells = [by[size, cuts, threads] for cuts in settings["cuts"]]
            base_ms = float(np.median([f["base_ms"] for f in cells]))
            ratios = [f"{f['ratio']:.3f} ({f['low']:.2f} to {f['high']:.2f})" for f in cells]
            rows.append([f"ViT-{size}", str(threads), f"{base_ms:.1f}", *ratios])
    difference = max(f["difference"] for f in found)
    return (
        "Segments and the head one after another, over the whole model in one graph, by the number of segments: "
        f"median of {min(f['pairs'] for f in found)} or more paired ratios (10 % and 90 % quantile). "
        f"{settings['image']} px, patch {settings['patch']}; the outputs differ by {difference:.1g} at most. "
        f"{setting(recorded)}.\n\n" + rows_of(["model", "threads", "whole, ms", *map(str, settings["cuts"])], rows)
    )


if __name__ == "__main__":
    one_line(main, "no figures were written")
