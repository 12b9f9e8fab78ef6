"""A branch in its segment's graph against a branch of its own, and from which share of the frames on the first pays.

A segment of a few layers with one exit behind it. Timed in turn, two at a time: segment and branch apart; the branch
fused into the segment; the segment alone, as it runs for frames that skip the branch; and, to know what two loads of
the very same units differ by, segment and branch apart once more.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost import record
from benchmarks.cost.exported import folder_of, folder_option
from benchmarks.cost.record import Recorded
from benchmarks.paired import Ratio, compare
from benchmarks.paper.tables import rows_of
from jetson.bundle import MANIFEST, Bundle
from jetson.profiling.call import call_ms
from toolkit.fusing import pays_from

if TYPE_CHECKING:
    from jetson.engines import Engines

SIZES = ("tiny:32:4", "tiny:224:16", "small:224:16")
BRANCHES = ("mlp", "cnn-add", "vit")
PATH = (0, 1)
"""The segment and its branch."""


def main() -> None:
    parser = record.parser_for("cuts", __doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="SIZE:IMAGE:PATCH", help="backbones")
    parser.add_argument("--branches", nargs="+", default=list(BRANCHES), help="of the exit")
    parser.add_argument("--layers", type=int, default=1, help="in the segment")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--loads", type=int, default=8, help="times that all units are loaded anew")
    parser.add_argument("--pairs", type=int, default=50, help="of runs after each load, for each comparison")
    folder_option(parser)
    options = parser.parse_args()
    rows = []
    with folder_of(options) as folder:
        for size in options.sizes:
            for branch in options.branches:
                bundles = exported(size, branch, options.layers, folder)
                rows.append({"size": size, "branch": branch} | measured(*bundles, options))
                record.tell(f"{size} {branch}: fused / apart {rows[-1]['taken']['ratio']:.3f}")
    record.record("cuts", options, {"rows": rows})


def exported(size: str, branch: str, layers: int, folder: Path) -> tuple[Bundle, Bundle]:
    """The bundle with its branch apart, and fused; made when they are not in the folder."""
    from benchmarks.models import cut_bundle, random_model
    from toolkit.models.config import ExitConfig

    exit_ = ExitConfig(layer=layers, architecture=branch)
    found = []
    for fused in ((), (exit_.name,)):
        place = folder / f"{size.replace(':', '-')}-{layers}-{branch}-{'fused' if fused else 'apart'}"
        if not (place / MANIFEST).exists():
            backbone, image, patch = size.split(":")
            cut_bundle(random_model(backbone, int(image), int(patch), (exit_,), layers + 1), place, fused=fused)
        found.append(Bundle.open(place))
    return found[0], found[1]


def measured(apart: Bundle, fused: Bundle, options: Any) -> dict[str, Any]:
    """One size with one branch."""
    from jetson.engines import load_engines

    ways: dict[str, list[Ratio]] = {"taken": [], "skipped": [], "same": []}
    alone: list[float] = []
    calls: list[float] = []
    rng = np.random.default_rng(0)
    for _ in range(options.loads):
        with contextlib.ExitStack() as stack:
            bundles = [apart, fused, apart]
            loaded: list[Engines | None] = [None] * 3
            for place in rng.permutation(3):  # what is loaded first may lie better in memory
                engines = load_engines(bundles[place], threads=options.threads)
                engines.input[...] = np.random.default_rng(0).normal(size=engines.input.shape)
                loaded[place] = stack.enter_context(contextlib.closing(engines))
            ours, base, again = loaded[1], loaded[0], loaded[2]
            assert ours is not None and base is not None and again is not None
            for engines in (ours, base, again):
                engines.run_path(PATH)
            difference = float(np.abs(ours.output(1) - base.output(1)).max())
            for way, units, other in (("taken", PATH, ours), ("skipped", PATH[:1], ours), ("same", PATH, again)):
                ways[way].append(compare(way, running(other, units), running(base, units), options.pairs))
            alone.append(compare("", running(base, PATH[1:]), running(base, PATH[1:]), options.pairs).base_ms)
            calls.append(call_ms("onnxruntime", running(base, PATH[:1])) or 0.0)
    return {
        "difference": difference,
        "branch_ms": statistics.median(alone),
        "call_ms": statistics.median(calls),
        **{way: over_loads(found) for way, found in ways.items()},
    }


def running(engines: Engines, units: Sequence[int]) -> Callable[[], None]:
    """What runs these units."""
    return lambda: engines.run_path(units)


def over_loads(ratios: Sequence[Ratio]) -> dict[str, float]:
    """The median over loads of each load's median, the lowest and the highest of them."""
    found = [r.ratio for r in ratios]
    base_ms = statistics.median(r.base_ms for r in ratios)
    return {"ratio": statistics.median(found), "low": min(found), "high": max(found), "base_ms": base_ms}


def table(recorded: Recorded) -> str:
    """A row for each size and branch."""
    figures, settings = recorded.figures, recorded.settings
    caption = (
        f"A segment of {settings['layers']} layer(s) and the branch behind it in ONNX Runtime, {settings['threads']} "
        f"thread(s), {record.setting(recorded)}. Ratios are medians of {settings['pairs']} pairs, and of those the "
        f"median over {settings['loads']} loads with the lowest and the highest. Taken: a frame that takes the branch; "
        "skipped: one that does not, and runs it for nothing when fused; same: two loads of the same units, which "
        "is what the others are to be held against. The call is one for a unit that computes nothing, right after the "
        "segment. The last columns tell from which share of the segment's frames on fusing is quicker: by the rule of "
        "`offramp build --profile`, and by the medians measured here."
    )
    header = ["backbone", "branch", "branch, µs", "call, µs", "taken: fused / apart", "skipped: fused / apart", "same"]
    header += ["rule", "here"]
    rows = [
        [
            row["size"],
            row["branch"],
            f"{1e3 * row['branch_ms']:.0f}",
            f"{1e3 * row['call_ms']:.1f}",
            *(_ratio(row[way]) for way in ("taken", "skipped", "same")),
            f"{100 * pays_from(row['call_ms'], row['branch_ms']):.1f} %",
            _share(row),
        ]
        for row in figures["rows"]
    ]
    return f"{caption}\n\n{rows_of(header, rows, words=2)}"


def _ratio(found: dict[str, float]) -> str:
    return f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _share(row: dict[str, Any]) -> str:
    """From which share of frames on fusing is the quicker of the two; nothing where two loads differ as much."""
    if row["taken"]["ratio"] >= row["same"]["low"]:
        return "no gain seen"
    saved, lost = _saved_ms(row["taken"]), max(-_saved_ms(row["skipped"]), 0.0)
    return f"{100 * lost / (lost + saved):.1f} %"


def _saved_ms(found: dict[str, float]) -> float:
    return (1.0 - found["ratio"]) * found["base_ms"]


if __name__ == "__main__":
    one_line(main, "no figures were written")
