"""`python -m benchmarks.int8 BUNDLE --data SPEC --out FILE`: what int8 costs and brings, and whether confidence holds.

First what the bundle holds, made by `offramp build --precision int8` with its gate. Then, without a gate, every method
of --int8-method, the default one with each unit fitted alone, and the naive way: every operator quantised, one scale a
tensor, ranges by min-max. Ranges come from the `fit` images, figures from the `test` images, all in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import monotonic, process_time

import msgspec
import numpy as np
import onnxruntime

from benchmarks.command import one_line
from benchmarks.int8_confidence import DIVISIONS, Form, confidence, held_out
from benchmarks.int8_naive import naive_units
from benchmarks.int8_table import BUILT, NAIVE, Case, Recorded, Time
from calibration.beliefs import HeldOut
from calibration.checks import FEWEST
from calibration.gate import INT8
from calibration.int8.chain import quantise_units
from calibration.int8.ranges import METHODS
from calibration.outputs import collect_outputs
from jetson.bundle import Bundle
from jetson.engines import Engines, load_engines
from jetson.errors import BadInput
from jetson.files import check_writable, storage, write_file
from jetson.manifest import Precision
from toolkit import data as data_sets
from toolkit.data.dataset import Part
from toolkit.data.roles import roles
from toolkit.judge import check_fits
from toolkit.quantise import FRAMES, METHOD, with_int8

DEVIATIONS = 1.96
"""To either side of a mean, that hold 95 %."""
DIGITS = 6
HALF_FRAMES = 2000
"""At most so many judge the rest in half precision, which most CPUs emulate: many times slower, and not timed."""
USED = ("fit", "select", "test")
LEAST = {"frames": FEWEST, "test_frames": 2, "pairs": 1, "threads": 1}
Make = Callable[[], Mapping[str, bytes]]
"""Units in int8, by name."""


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", required=True, help="what the bundle was made with, as for offramp build")
    parser.add_argument("--frames", type=int, default=FRAMES, help="that the ranges are taken from, at most")
    parser.add_argument("--test-frames", type=int, default=10_000, help="at most so many judge")
    parser.add_argument("--pairs", type=int, default=300, help="runs of either side that are timed")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args(words)
    try:
        found = measure(options)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
    write_file(options.out, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    print(f"-> {options.out}")


def measure(options: argparse.Namespace) -> Recorded:
    """All of it, told line by line.

    Raises:
        BadInput: options out of range, no bundle, one without int8, or data that it was not made with.
        WorkFailed: a unit cannot be quantised or run.
    """
    settings = {name: getattr(options, name) for name in LEAST}
    for name, least in LEAST.items():
        if settings[name] < least:
            raise BadInput(f"--{name.replace('_', '-')} {settings[name]}: must be {least} at least")
    check_writable(options.out)
    bundle = Bundle.open(options.bundle)
    manifest = bundle.manifest
    if manifest.quantisation is None:
        raise BadInput(f"{options.bundle}: was built without int8; offramp build makes it with --precision int8")
    parts = _parts(bundle, options.data)
    fit, test = parts["fit"].head(options.frames), parts["test"].head(options.test_frames)
    cases: list[Case] = []
    answered: dict[Form, HeldOut] = {}
    classify = manifest.task == "classification"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        draft = _draft(bundle, folder / "bundle")
        built = {p: BUILT[p] for p in INT8 if p in manifest.offered}
        ways = _ways(draft, fit, folder)
        told = _Progress(draft, 1 + len(built) + len(ways))
        base = stack.enter_context(contextlib.closing(load_engines(draft, threads=options.threads)))
        judge = _Judge(base, draft, test, options.pairs, options.threads)
        told("fp32", judge.quality)
        answered["fp32"] = held_out(judge.reference, test)
        for precision, name in built.items():
            case, outputs = judge(name, bundle, precision)
            cases.append(case)
            if precision == "int8":
                answered["int8"] = held_out(outputs, test)
            told(name, case.quality)
        for name, make in ways.items():
            cases.append(judge(name, with_int8(draft, make()), "int8")[0])
            told(name, cases[-1].quality)
        if classify:
            print(f"confidence, over {DIVISIONS} divisions of the images held out", flush=True)
        stated = confidence(bundle, base, parts, answered) if classify else None
    return Recorded(
        settings=settings | {"frames": len(fit)},
        data=test.sha256,
        n=len(test),
        task=manifest.task,
        exits=tuple(e.name for e in manifest.exits),
        machine={"processor": platform.machine(), "onnxruntime": onnxruntime.__version__},
        units={u.name: u.size_bytes for u in manifest.units},
        quality=judge.quality,
        max_drop=manifest.quantisation.max_drop,
        kept={k.unit: k.precision for k in manifest.quantisation.kept},
        cases=tuple(cases),
        stated=stated,
    )


def _parts(bundle: Bundle, spec: str) -> dict[str, Part]:
    data = data_sets.load(spec)
    check_fits(data, spec, bundle.manifest, "bundle")
    channels = bundle.manifest.preprocessing.channels
    parts = {k: p.for_channels(channels) for k, p in roles(data).items()}
    made = bundle.manifest.provenance
    known = made.calibrated or made.data
    # On other images what was fitted might be judged by what it was fitted to.
    if known is not None and any(parts[role].sha256 != s.sha256 for role, s in known.splits.items() if role in USED):
        raise BadInput(f"{spec}: not the images that {bundle.path} was made with")
    return parts


def _draft(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle with its units in fp32 alone, in a folder that takes others."""
    units = tuple(msgspec.structs.replace(u, variants=()) for u in bundle.manifest.units)
    for unit in units:
        with storage(folder):
            (folder / unit.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.file(unit), folder / unit.file)
    return Bundle(folder, msgspec.structs.replace(bundle.manifest, units=units))


def _ways(draft: Bundle, fit: Part, folder: Path) -> dict[str, Make]:
    """Every way without a gate, the default first and the naive one last."""

    def make(method: str, together: bool) -> dict[str, bytes]:
        return {q.unit: q.content for q in quantise_units(draft, fit.images, method, together=together)}

    ways: dict[str, Make] = {m: partial(make, m, True) for m in sorted(METHODS, key=lambda m: m != METHOD)}
    ways[f"{METHOD}, each unit alone"] = partial(make, METHOD, False)
    ways[NAIVE] = partial(naive_units, draft, fit.images, folder)
    return ways


class _Judge:
    """Holds units in int8 against the same in fp32."""

    def __init__(self, base: Engines, draft: Bundle, test: Part, pairs: int, threads: int) -> None:
        manifest = draft.manifest
        self._base, self._test, self._pairs, self._threads = base, test, pairs, threads
        self._classify = manifest.task == "classification"
        self._bytes = {u.name: u.size_bytes for u in manifest.units}
        self._path = [[*self._bytes].index(unit) for unit in manifest.exits[-1].units]
        self.reference = collect_outputs(manifest, base, test.images)
        self._losses = self._losses_of(self.reference)
        self.quality = self._quality(self._losses)

    def __call__(self, name: str, bundle: Bundle, precision: Precision) -> tuple[Case, np.ndarray]:
        """Judge a bundle's units, each in this precision or the nearest it has; every exit's outputs with it."""
        units, chosen = bundle.manifest.units, bundle.manifest.nearest(precision)
        half = precision == "int8-fp16"
        test = self._test.head(HALF_FRAMES) if half else self._test
        with contextlib.closing(load_engines(bundle, threads=self._threads, precisions=chosen)) as ours:
            outputs = collect_outputs(bundle.manifest, ours, test.images)
            time = None if half else self._time(ours)
        losses = self._losses_of(outputs)
        lost, before = losses - self._losses[: len(losses)], self.reference[: len(losses)]
        noise = np.square(outputs.astype(np.float64) - before).mean(axis=(0, 2))
        sizes = {u.name: u.at(p).size_bytes for u, p in zip(units, chosen, strict=True)}
        rounded = [u.name for u, p in zip(units, chosen, strict=True) if p in INT8]
        case = Case(
            name=name,
            n=len(test),
            quality=self._quality(losses),
            drop=_values(lost.mean(axis=0)),
            spread=_values(DEVIATIONS * lost.std(axis=0, ddof=1) / np.sqrt(len(lost))),
            noise=_values(noise / before.var(axis=(0, 2), dtype=np.float64)),
            sizes={u: round(sizes[u] / self._bytes[u], DIGITS) for u in rounded},
            size=round(sum(sizes.values()) / sum(self._bytes.values()), DIGITS),
            time=time,
        )
        return case, outputs

    def _time(self, ours: Engines) -> Time:
        """Processor time, which other work on the machine hardly touches; each pair in an order shuffled anew."""
        rng, taken = np.random.default_rng(0), np.empty((self._pairs, 2))
        for index in range(-max(self._pairs // 10, 3), self._pairs):
            for which in rng.permutation(2):
                began = process_time()
                (self._base, ours)[which].run_path(self._path)
                if index >= 0:
                    taken[index, which] = process_time() - began
        low, ratio, high = np.quantile(taken[:, 1] / taken[:, 0], (0.1, 0.5, 0.9))
        base_ms = 1e3 * np.median(taken[:, 0])
        figures = {"ratio": ratio, "low": low, "high": high, "base_ms": base_ms}
        return Time(**{name: round(float(value), DIGITS) for name, value in figures.items()})

    def _losses_of(self, outputs: np.ndarray) -> np.ndarray:
        """(frames, exits): 1 where the answer is wrong, or the mean absolute error."""
        assert self._test.targets is not None, "roles of a data set have targets"
        targets = self._test.targets[: len(outputs)]
        if self._classify:
            return (outputs.argmax(axis=2) != targets[:, None]).astype(np.float64)
        return np.abs(outputs.astype(np.float64) - targets[:, None]).mean(axis=2)

    def _quality(self, losses: np.ndarray) -> tuple[float, ...]:
        return _values(1 - losses.mean(axis=0) if self._classify else losses.mean(axis=0))


class _Progress:
    """Tells a line for each case, with the time that is left."""

    def __init__(self, bundle: Bundle, total: int) -> None:
        self._exits = [e.name for e in bundle.manifest.exits]
        self._total, self._done, self._began = total, 0, monotonic()

    def __call__(self, name: str, quality: tuple[float, ...]) -> None:
        self._done += 1
        left = (monotonic() - self._began) / self._done * (self._total - self._done) / 60
        figures = ", ".join(f"{exit_} {value:.4f}" for exit_, value in zip(self._exits, quality, strict=True))
        print(f"{self._done}/{self._total} {name}: {figures}; {left:.0f} min left", flush=True)


def _values(array: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(v), DIGITS) for v in array)


if __name__ == "__main__":
    one_line(main)
