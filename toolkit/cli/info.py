"""`offramp info`, and how a bundle is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from jetson.bundle import Bundle
from jetson.manifest import Manifest, Quality
from toolkit.cli.console import out, print_json, print_table
from toolkit.cli.options import BUNDLE, JSON


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


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest as plain data, with its identity."""
    manifest: dict[str, Any] = msgspec.to_builtins(bundle.manifest)
    return {**manifest, "path": str(bundle.path), "identity": bundle.manifest.identity}


def show(bundle: Bundle) -> None:
    """The bundle as two tables on stdout."""
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
        ["unit", "ends after layer", "parameters", "MFLOP", "kB", "precision"],
        [
            [
                u.name,
                str(u.layer),
                f"{u.parameters:,}",
                f"{u.flops / 1e6:.2f}",
                " + ".join(f"{v.size_bytes / 1e3:.0f}" for v in u.files),
                " + ".join(v.precision for v in u.files),
            ]
            for u in manifest.units
        ],
    )
    splits = [q.split for q in manifest.exits[0].quality]
    columns = ["max diff", *(f"in {p}" for p in manifest.exits[0].differences)]
    print_table(
        "Exits",
        ["exit", "name", "parameters", "MFLOP", *(f"{metric(manifest)}, {s}" for s in splits), *columns],
        [
            [
                str(number),
                e.name,
                f"{sum(manifest.unit(u).parameters for u in e.units):,}",
                f"{sum(manifest.unit(u).flops for u in e.units) / 1e6:.2f}",
                *(quality(q) for q in e.quality),
                f"{e.max_difference:.1e}",
                *(f"{d:.1e}" for d in e.differences.values()),
            ]
            for number, e in enumerate(manifest.exits, start=1)
        ],
        left=2,
    )


def trtexec_lines(bundle: Bundle) -> list[str]:
    """The commands that build the bundle's engines with TensorRT's own tool, a unit each."""
    from jetson.engines import default_precisions
    from jetson.engines.tensorrt.trtexec import trtexec_line

    precisions = default_precisions(bundle, "tensorrt")
    return [trtexec_line(bundle, u, p) for u, p in zip(bundle.manifest.units, precisions, strict=True)]


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
