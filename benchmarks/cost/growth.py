"""How latency and memory grow with the number of exits, the size of the image, the depth and the number of streams.

ViTs with random weights on one thread, `Runtime.infer` on frames of the model's size. The cases of one question take
turns in one process; memory is what a fresh process holds more once units are loaded and have answered a frame.
"""

from __future__ import annotations

import contextlib
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost import record
from benchmarks.cost.record import Recorded
from benchmarks.paper.tables import rows_of
from jetson.bundle import Bundle
from jetson.engines import load_engines
from jetson.runtime import Runtime
from jetson.scheduling.paths import Paths
from jetson.scheduling.policy import EveryExit, StaticExit

PATCH = 16
BRANCH = "mlp"
MIB = float(1 << 20)
PROCESSES = 3
"""That memory is a median of."""


class Case(NamedTuple):
    """One model, and how many frames it is given at once."""

    exits: int = 0
    """Early ones, evenly over the depth."""
    image: int = 224
    depth: int = 12
    streams: int = 1


class Axis(NamedTuple):
    """What grows."""

    title: str
    field: str
    """Of `Case`."""
    default: tuple[int, ...]
    power: int
    """Of the polynomial that latency should follow."""
    x: Callable[[int], int] = int
    """What the law speaks of, from the field's value."""


def tokens(image: int) -> int:
    """Of a square image, the class token among them."""
    return (image // PATCH) ** 2 + 1


AXES = {
    "exits": Axis("early exits", "exits", (0, 1, 2, 3, 5, 11), 1),
    "image": Axis("tokens", "image", (112, 160, 224, 288, 384), 2, tokens),
    "depth": Axis("layers", "depth", (3, 6, 12, 18, 24), 1),
    "streams": Axis("streams", "streams", (1, 2, 4, 8), 1),
}
PICTURES = {
    "latency": "Latency against early exits, tokens, layers and streams, with the laws that fit",
    "memory": "Memory against the same, with the laws that fit",
}
SERIES = {"ms": "to the last exit, ms", "all_ms": "every exit, ms", "mib": "memory, MiB"}


def main() -> None:
    parser = record.parser_for("growth", __doc__)
    parser.add_argument("--size", default="tiny", help="of the ViT: tiny, small or base")
    parser.add_argument("--rounds", type=int, default=40, help="of all cases of one question")
    for name, axis in AXES.items():
        parser.add_argument(
            f"--{name}", type=int, nargs="*", default=list(axis.default), help=f"default {axis.default}"
        )
    parser.add_argument("--bundles", type=Path, help="keep the models there, and take what is there already")
    options = parser.parse_args()
    bundles, figures = options.bundles, {}
    del options.bundles
    with contextlib.nullcontext(bundles) if bundles else tempfile.TemporaryDirectory() as folder:
        for name, axis in AXES.items():
            cases = [Case(**{axis.field: value}) for value in getattr(options, name)]
            places = [(str(made(Path(folder), options.size, case)), case) for case in cases]
            if not places:
                continue
            times = record.in_process(latencies, places, options.rounds, name == "exits")
            memory = [median(record.in_process(resident, *p) for _ in range(PROCESSES)) for p in places]
            found = {"x": [axis.x(v) for v in getattr(options, name)], **times, "mib": memory}
            found["laws"] = {s: law(found["x"], middle(found[s]), axis.power) for s in SERIES if s in found}
            figures[name] = found
            record.tell(f"{name}: {', '.join(f'{SERIES[s]} {written(fit)}' for s, fit in found['laws'].items())}")
    record.record("growth", options, figures)


def made(folder: Path, size: str, case: Case) -> Path:
    """The folder of a case's bundle, exported unless it is there."""
    place = folder / f"{size}-{case.exits}-{case.image}-{case.depth}"
    if not (place / "manifest.json").exists():
        record.tell(f"exporting {place.name}")
        record.in_process(export, place, size, case)
    return place


def export(place: Path, size: str, case: Case) -> None:
    """Write a case's bundle; PyTorch stays in the process that does this."""
    from benchmarks.models import cut_bundle, random_model
    from toolkit.models.config import ExitConfig

    layers = [case.depth * (i + 1) // (case.exits + 1) for i in range(case.exits)]
    exits = tuple(ExitConfig(layer=layer, architecture=BRANCH) for layer in layers)
    place.mkdir(parents=True)
    cut_bundle(random_model(size, case.image, PATCH, exits, case.depth), place)


def latencies(places: Sequence[tuple[str, Case]], rounds: int, every: bool) -> dict[str, list[list[float]]]:
    """Milliseconds of each case: 10 % quantile, median and 90 % quantile.

    Args:
        places: of the bundles, with the cases.
        rounds: of all cases.
        every: through all exits too, not only straight to the last.
    """
    ways = [(series, way) for place, case in places for series, way in _ways(place, case, every)]
    times = np.empty((rounds, len(ways)))
    rng = np.random.default_rng(0)
    for index in range(-3, rounds):
        for which in rng.permutation(len(ways)):
            began = perf_counter()
            ways[which][1]()
            if index >= 0:
                times[index, which] = (perf_counter() - began) * 1e3
    found: dict[str, list[list[float]]] = {}
    for (series, _), quantiles in zip(ways, np.quantile(times, (0.1, 0.5, 0.9), axis=0).T, strict=True):
        found.setdefault(series, []).append(quantiles.tolist())
    return found


def _ways(place: str, case: Case, every: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    runtime, frame = _loaded(place)
    if case.streams > 1:
        yield "ms", partial(runtime.infer_many, [frame] * case.streams)
        return
    yield "ms", partial(runtime.infer, frame)
    if every:
        through = Runtime(runtime.bundle, runtime.engines, EveryExit(runtime.paths))
        yield "all_ms", partial(through.infer, frame)


def resident(place: str, case: Case) -> float:
    """MiB that units hold once they are loaded and have answered; of a process that holds nothing else yet."""
    import onnxruntime  # noqa: F401  what it takes alone is not meant

    before = _resident()
    runtime, frame = _loaded(place)
    runtime.infer_many([frame] * case.streams)
    return _resident() - before


def _loaded(place: str) -> tuple[Runtime, Any]:
    bundle = Bundle.open(place)
    paths = Paths.of(bundle.manifest)
    runtime = Runtime(bundle, load_engines(bundle, threads=1), StaticExit(paths, len(paths.branches) - 1))
    p = bundle.manifest.preprocessing
    return runtime, np.random.default_rng(0).integers(0, 256, (p.height, p.width, p.channels), dtype=np.uint8)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MIB


def law(x: Sequence[float], y: Sequence[float], power: int) -> dict[str, Any]:
    """A polynomial by least squares of the relative errors.

    Args:
        x: of the cases,
        y: what was measured.
        power: the highest; less where there are too few cases.

    Returns:
        `terms`, from the constant up, and `off`, the largest relative error of a case.
    """
    xs, ys = np.array(x, float), np.array(y)
    columns = np.vander(xs, min(power, len(xs) - 1) + 1, increasing=True)
    terms, *_ = np.linalg.lstsq(columns / ys[:, None], np.ones(len(ys)), rcond=None)
    return {"terms": terms.tolist(), "off": float(np.abs(columns @ terms / ys - 1).max())}


def at(found: dict[str, Any], x: Any) -> Any:
    """What a law says.

    Args:
        found: the law.
        x: a number or an array.
    """
    return sum(term * x**power for power, term in enumerate(found["terms"]))


def middle(values: Sequence[Any]) -> list[float]:
    """Medians, of figures with quantiles."""
    return [v[1] if isinstance(v, list) else v for v in values]


def written(found: dict[str, Any]) -> str:
    """A law as a formula in n."""
    names = ("", " n", " n²")
    words = [f"{abs(t):.3g}{name}" for t, name in zip(found["terms"], names, strict=False)]
    signs = [" - " if t < 0 else " + " for t in found["terms"]]
    first = ("-" if found["terms"][0] < 0 else "") + words[0]
    return first + "".join(sign + word for sign, word in zip(signs[1:], words[1:], strict=True))


def table(recorded: Recorded) -> str:
    """A row for each question and figure: what was measured, and the law that fits it."""
    lines = []
    for name, found in recorded.figures.items():
        for series, words in SERIES.items():
            if series in found:
                values = middle(found[series])
                cases = ", ".join(f"{x}: {v:.3g}" for x, v in zip(found["x"], values, strict=True))
                fit = found["laws"][series]
                lines.append([f"{AXES[name].title} n", words, cases, written(fit), f"{100 * fit['off']:.1f} %"])
    caption = (
        f"ViT-{recorded.settings['size']}, {PATCH} pixels a patch, {Case().image} pixels and {Case().depth} layers "
        f"where that is not what grows; one thread, {record.setting(recorded)}; medians of "
        f"{recorded.settings['rounds']} rounds, memory of {PROCESSES} processes. The law is "
        "fitted by least squares of relative errors; the last column is its largest."
    )
    header = ["what grows", "figure", "measured", "law", "off by at most"]
    pictures = "\n\n".join(f"![{alt}](images/growth-{name}.svg)" for name, alt in PICTURES.items())
    drawn = "Drawn by `python -m benchmarks.cost.growth_plot`; shades from the 10 % to the 90 % quantile."
    return f"{caption}\n\n{rows_of(header, lines, words=5)}\n\n{drawn}\n\n{pictures}"


if __name__ == "__main__":
    one_line(main, "no figures were written")
