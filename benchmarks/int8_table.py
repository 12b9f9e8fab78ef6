"""The results of `python -m benchmarks.int8`, and the tables made of them: what int8 costs, and whether stated
probabilities hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks.paper.tables import rows_of
from jetson.beliefs import Reliability
from jetson.errors import BadInput
from jetson.files import storage
from jetson.manifest import Task
from jetson.record import Record
from toolkit.report.formats import decimals_for

MODELS = {
    "fashion": "--data fashion-mnist --backbone tiny --patch-size 7 --depth 6 --exits 1:mlp,2:cnn-add,4:vit "
    "--epochs 8 --limit 20000",
    "cifar10": "--data cifar10:FILE --backbone DIRECTORY --image-size 56 --exits 3:cnn-add,6:cnn-ignore,9:vit "
    "--epochs 4",
}
"""How `offramp train` made the model of each experiment."""
BUILT = {"int8": "`offramp build`", "int8-fp16": "`offramp build`, the rest in fp16"}
"""What the bundle itself holds, by precision."""
NAIVE = "every operator"
"""Without a gate and without a choice."""


class Time(Record, frozen=True, kw_only=True):
    """The processor's, of the path to the final exit against fp32, in pairs: median ratio, 10 and 90 % quantiles."""

    ratio: float
    low: float
    high: float
    base_ms: float


class Case(Record, frozen=True, kw_only=True):
    """One way to put the units into int8."""

    name: str
    n: int
    """Test images: the first of them where another precision takes too long."""
    quality: tuple[float, ...]
    """By exit."""
    drop: tuple[float, ...]
    """By exit what is lost to fp32 on the same images: accuracy, or error gained; below 0 where int8 is better."""
    spread: tuple[float, ...]
    """Half the 95 % interval of `drop`."""
    noise: tuple[float, ...]
    """By exit the mean squared difference of the outputs to fp32, as a share of their variance."""
    sizes: dict[str, float]
    """By unit in int8 the bytes of its file, as a share of those in fp32."""
    size: float
    """The same of all units that run, those that stayed in another precision with them."""
    time: Time | None = None


class Errors(Record, frozen=True, kw_only=True):
    """Of one exit over many divisions of the images held out."""

    mean: float
    deviation: float


class Stated(Record, frozen=True, kw_only=True):
    """By exit whether stated probabilities hold on the test images, and those that they were fitted to."""

    fitted: int
    exits: dict[Literal["fp32", "int8"], tuple[Reliability, ...]]
    divided: tuple[Errors, ...]
    """By exit the error in fp32, the images held out being dealt by chance, as many to each role as they were."""


class Recorded(Record, frozen=True, kw_only=True):
    """The whole file."""

    settings: dict[str, Any]
    data: str
    """Hash of the test part."""
    n: int
    """Test images."""
    task: Task
    exits: tuple[str, ...]
    machine: dict[str, str]
    units: dict[str, int]
    """By unit the bytes of its file in fp32."""
    quality: tuple[float, ...]
    """By exit, in fp32."""
    max_drop: float
    kept: dict[str, str]
    """By unit that the gate of the build sent back what it runs in."""
    cases: tuple[Case, ...]
    stated: Stated | None


def read(file: Path, name: str) -> Recorded:
    """Read the results.

    Args:
        file: that holds them.
        name: of the experiment, of `MODELS`.

    Raises:
        BadInput: they are not there, or it is another file.
        StorageError: it cannot be read.
    """
    with storage(file, "read"):
        if not file.exists():
            raise BadInput(f"{file} is not there; make it with: {', then '.join(made_by(name, {}))}")
        content = file.read_bytes()
    try:
        found = msgspec.json.decode(content, type=Recorded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: not the results of benchmarks.int8 ({error})") from None
    if not found.cases or any(len(case.drop) != len(found.exits) for case in found.cases):
        raise BadInput(f"{file}: not every exit was judged in every case")
    return found


def made_by(name: str, settings: dict[str, Any]) -> list[str]:
    """The commands that make an experiment's results, with the settings of the measurement."""
    data = MODELS[name].split()[1]
    options = "".join(f" --{key.replace('_', '-')} {value}" for key, value in settings.items())
    return [
        f"offramp train {MODELS[name]} --out CHECKPOINT",
        "offramp build CHECKPOINT --out BUNDLE --precision int8",
        f"python -m benchmarks.int8 BUNDLE --data {data}{options} --out benchmarks/results/int8-{name}.json",
    ]


def table(recorded: Recorded) -> str:
    """Rows of cases, columns of exits; the first row is fp32 itself."""
    classify = recorded.task == "classification"
    scale, decimals = (100.0, 1) if classify else (1.0, decimals_for(recorded.quality))
    sign = -1 if classify else 1
    rows = [["fp32", *(f"{scale * v:.{decimals}f}" for v in recorded.quality), "1.00", "1.00"]]
    for case in recorded.cases:
        changes = [
            f"{_signed(scale * sign * drop, decimals + 1)} ± {scale * spread:.{decimals + 1}f}"
            for drop, spread in zip(case.drop, case.spread, strict=True)
        ]
        time = case.time
        took = "" if time is None else f"{time.ratio:.2f} ({time.low:.2f} to {time.high:.2f})"
        fewer = "" if case.n == recorded.n else f" ({case.n:,} images)"
        rows.append([f"{case.name}{fewer}", *changes, f"{case.size:.2f}", took])
    header = ["units in", *(f"`{e}`" for e in recorded.exits), "size", "time"]
    return f"{_caption(recorded)}\n\n{rows_of(header, rows)}"


def _caption(recorded: Recorded) -> str:
    classify, settings = recorded.task == "classification", recorded.settings
    metric, unit = ("Accuracy in %", " in points,") if classify else ("Mean absolute error", "")
    allowed = f"{100 * recorded.max_drop:g} points" if classify else f"{100 * recorded.max_drop:g} %"
    kept = " and ".join(f"`{unit}`" for unit in recorded.kept) or "no unit"
    threads = f"{settings['threads']} thread{'' if settings['threads'] == 1 else 's'}"
    base = next((f", {c.time.base_ms:.2f} ms," for c in recorded.cases if c.time), "")
    return (
        f"{metric} on {recorded.n:,} test images in fp32; below it what changes,{unit} ± half the 95 % interval, on "
        f"the same images. Ranges are from {settings['frames']} fit images. `offramp build` let no exit lose more than "
        f"{'one point' if allowed == '1 points' else allowed} on the select images and kept {kept} out of int8; "
        f"the cases below it have no gate. Size: bytes of all files against fp32, which are "
        f"{sum(recorded.units.values()) / 1e6:.1f} MB; {_shares(recorded)}. Time: the processor's, of the path to the "
        f"final exit against fp32{base} in ONNX Runtime {recorded.machine['onnxruntime']} on a CPU "
        f"({recorded.machine['processor']}), {threads}; median of {settings['pairs']} pairs, quantiles of 10 and 90 %."
    )


def _shares(recorded: Recorded) -> str:
    """What int8 leaves of each unit's file; the head is told apart where its graph weighs as much as its weights."""
    shares = dict(recorded.cases[0].sizes)
    head = shares.pop("head", None)
    if not shares:
        return "none of the units is in int8"
    low, high = f"{min(shares.values()):.2f}", f"{max(shares.values()):.2f}"
    told = f"in int8 each has {low if low == high else f'{low} to {high}'} of its bytes"
    return told if head is None else f"{told}, the head of {recorded.units['head'] / 1e3:.0f} kB {head:.2f}"


def confidence_table(experiments: dict[str, Recorded]) -> str:
    """Rows of exits, experiment by experiment: the expected calibration error on the test part."""
    rows, said = [], []
    for name, recorded in experiments.items():
        stated = recorded.stated
        if stated is None:
            continue
        said.append(f"{name}: fitted to {stated.fitted:,} images, held against {recorded.n:,}")
        for k, exit_ in enumerate(recorded.exits):
            found, anew = stated.exits["fp32"][k], stated.divided[k]
            figures = [recorded.quality[k], found.before, found.after, noise_floor(found)]
            dealt = f"{100 * anew.mean:.1f} ± {100 * anew.deviation:.1f}"
            eight = f"{100 * stated.exits['int8'][k].after:.1f}" if "int8" in stated.exits else ""
            rows.append([name, f"`{exit_}`", *(f"{100 * v:.1f}" for v in figures), dealt, eight])
    caption = (
        "Expected calibration error in points, 15 equal bins: of the plain softmax, and of the confidence that "
        "the bundle states with no answer in hand, in fp32 and in int8. The floor is what as many images show on "
        "average although every probability is right. Dealt anew: mean ± standard deviation when the images held out "
        f"are dealt by chance, fitted and judged again. {'; '.join(said)} test images."
    )
    header = ["data", "exit", "accuracy, %", "softmax", "confidence", "floor", "dealt anew", "confidence in int8"]
    return f"{caption}\n\n{rows_of(header, rows, words=2)}"


def noise_floor(found: Reliability) -> float:
    """The expected calibration error that this many images show on average although every probability is right."""
    terms = [b.n * _deviation(b.n, b.stated) for b in found.bins_after if b.n]
    return sum(terms) / sum(b.n for b in found.bins_after)


def _deviation(n: int, p: float) -> float:
    """How far on average the share of n that come true is from p, their probability (De Moivre)."""
    if not 0 < p < 1:
        return 0.0
    k = math.floor(n * p) + 1
    chosen = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return 2 * k * (1 - p) * math.exp(chosen + k * math.log(p) + (n - k) * math.log1p(-p)) / n


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "+") if float(text) == 0 else text
