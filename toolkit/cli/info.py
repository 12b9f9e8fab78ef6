"""`offramp info`, and how a bundle is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from jetson.bundle import Bundle
from jetson.manifest import Exit, Manifest, Precision, Quality, Unit
from toolkit.cli.console import out, print_json, print_table
from toolkit.cli.options import BUNDLE, JSON
from toolkit.cuts import told

TEST = "test"
ABSENT = "n/a"


@click.command("info")
@BUNDLE
@click.option("--trtexec", is_flag=True, help="Print the lines that build its engines with TensorRT's own tool.")
@JSON
def command(bundle: Path, trtexec: bool, as_json: bool) -> None:
    """Show what BUNDLE holds: units, exits, what each exit is worth, where it comes from."""
    opened = Bundle.open(bundle)
    if as_json:
        print_json({**describe(opened), "trtexec": trtexec_lines(opened)})
    elif trtexec:
        out.print("\n".join(trtexec_lines(opened)), markup=False)
    else:
        show(opened)
        cutting = opened.manifest.cutting
        if cutting is not None:
            out.print("\n".join(told(cutting, [s.layer for s in opened.manifest.segments])), markup=False)


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest as plain data, with its identity."""
    manifest: dict[str, Any] = msgspec.to_builtins(bundle.manifest)
    return {**manifest, "path": str(bundle.path), "identity": bundle.manifest.identity}


def show(bundle: Bundle) -> None:
    """The bundle as tables on stdout."""
    manifest = bundle.manifest
    p = manifest.preprocessing
    out.print(
        f"{bundle.path}: {manifest.task}, {manifest.outputs} outputs, "
        f"frames resized to {p.height}x{p.width}x{p.channels}, "
        f"{manifest.parity.frames} images within {_tolerances(manifest)} of PyTorch",
        markup=False,
    )
    print_table(
        "Units",
        ["unit", "ends after\nlayer", "parameters", "MFLOP", *(f"kB in\n{p}" for p in manifest.offered)],
        [
            [
                u.name,
                str(u.layer),
                f"{u.parameters:,}",
                f"{u.flops / 1e6:.2f}",
                *(_size(u, p) for p in manifest.offered),
            ]
            for u in manifest.units
        ],
    )
    splits = [q.split for q in manifest.exits[0].quality]
    columns = ["max diff", *(f"in {p}" for p in manifest.exits[0].differences)]
    trust = [f"calibration\nerror %, {TEST}"] if any(_reliability(e) for e in manifest.exits) else []
    print_table(
        "Exits",
        ["exit", "name", "parameters", "MFLOP", *(f"{metric(manifest)}, {s}" for s in splits), *trust, *columns],
        [
            [
                str(number),
                e.name,
                f"{sum(manifest.unit(u).parameters for u in e.units):,}",
                f"{sum(manifest.unit(u).flops for u in e.units) / 1e6:.2f}",
                *(quality(q) for q in e.quality),
                *(_reliability(e) or ABSENT for _ in trust),
                f"{e.max_difference:.1e}",
                *(f"{d:.1e}" for d in e.differences.values()),
            ]
            for number, e in enumerate(manifest.exits, start=1)
        ],
        left=2,
    )
    _show_precisions(manifest)


def _size(unit: Unit, precision: Precision) -> str:
    if unit.fused is not None:
        return "fused"
    found = next((v for v in unit.files if v.precision == precision), None)
    return f"{found.size_bytes / 1e3:.0f}" if found else ABSENT


def _show_precisions(manifest: Manifest) -> None:
    """What the exits are worth in int8, and which units are not in it; nothing where there is no int8."""
    precisions = list(dict.fromkeys(p for e in manifest.exits for p in e.variant_quality))
    if precisions:
        print_table(
            f"Precisions: {metric(manifest)}, {TEST}",
            ["exit", "name", manifest.units[0].precision, *precisions],
            [
                [str(number), e.name, _value(_on_test(e.quality)), *(_compared(e, p) for p in precisions)]
                for number, e in enumerate(manifest.exits, start=1)
            ],
            left=2,
        )
    record = manifest.quantisation
    if record is not None:
        kept = ", ".join(f"{k.unit} (in {k.precision})" for k in record.kept)
        ranges = f"int8 ranges: {record.method}, {record.frames} frames of {record.data}"
        out.print(f"{ranges}; kept out of int8: {kept or 'no unit'}", markup=False)


def _compared(exit_: Exit, precision: Precision) -> str:
    """The value, and how far it is from the units' own precision: in points, or in percent of the error."""
    own, other = _on_test(exit_.quality), _on_test(exit_.variant_quality.get(precision, ()))
    if own is None or other is None or (own.metric != "accuracy" and own.value == 0):
        return _value(other)
    change = 100 * (other.value - own.value) / (1 if own.metric == "accuracy" else own.value)
    return f"{_value(other)} ({change:+.1f}{'' if own.metric == 'accuracy' else ' %'})"


def _value(found: Quality | None) -> str:
    """The value without its interval."""
    if found is None:
        return ABSENT
    return f"{100 * found.value:.1f}" if found.metric == "accuracy" else f"{found.value:.3f}"


def _on_test(found: Sequence[Quality]) -> Quality | None:
    return next((q for q in found if q.split == TEST), None)


def _reliability(exit_: Exit) -> str:
    """How far stated probabilities are off on test, before and after; empty where nobody knows."""
    found = next((r for r in exit_.reliability if r.split == TEST), None)
    return f"{100 * found.before:.1f} -> {100 * found.after:.1f}" if found else ""


def trtexec_lines(bundle: Bundle) -> list[str]:
    """The commands that build the bundle's engines with TensorRT's own tool, a unit each."""
    from jetson.engines import default_precisions
    from jetson.engines.tensorrt.trtexec import trtexec_line

    precisions = default_precisions(bundle, "tensorrt")
    units = zip(bundle.manifest.units, precisions, strict=True)
    return [trtexec_line(bundle, u, p) for u, p in units if u.fused is None]


def _tolerances(manifest: Manifest) -> str:
    """The tolerance, and that of each further precision."""
    parity = manifest.parity
    return ", ".join([f"{parity.tolerance:g}", *(f"{t:g} in {p}" for p, t in parity.tolerances.items())])


def metric(manifest: Manifest) -> str:
    """The exits' metric as a column says it."""
    return "accuracy %" if manifest.task == "classification" else "mean abs error"


def quality(q: Quality) -> str:
    """Value, interval and sample count in one cell."""
    if q.metric == "accuracy":
        return f"{100 * q.value:.1f} [{100 * q.low:.1f}, {100 * q.high:.1f}] n={q.n}"
    return f"{q.value:.3f} [{q.low:.3f}, {q.high:.3f}] n={q.n}"
