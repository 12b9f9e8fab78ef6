"""Export and build of all units against the uncut model: the first time, again with nothing new, with one new branch.

Each in a fresh process, from the PyTorch model to files. TensorRT engines are built too where TensorRT for RTX is.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.exported import model_option
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, spread, tell, versions
from benchmarks.paper.tables import rows_of
from jetson.errors import EngineError, MissingExtra

KINDS = {
    "whole": "the uncut model",
    "units": "all units",
    "again": "again, nothing changed",
    "branch": "again, one branch changed",
}
ENGINES = {
    "engines of whole": "TensorRT engine of the uncut model",
    "engines of units": "TensorRT engines of all units",
    "engines of again": "again, nothing changed",
}
TARGET = "sm86"


def export(kind: str, work: Path, size: str, image: int, patch: int, exits: int) -> tuple[float, int]:
    """Export once, in a process of its own.

    Returns:
        Seconds from the PyTorch model to files, and the number of units that were converted.
    """
    import msgspec
    import torch

    from benchmarks.cost.one_model import multi_exit
    from benchmarks.models import cut_bundle, whole_bundle
    from jetson.bundle import Bundle
    from toolkit.export.cut import cut
    from toolkit.export.units import write_units

    torch.set_num_threads(1)
    model = multi_exit(size, image, patch, exits)
    if kind == "branch":
        with torch.no_grad():
            next(model.branches[0].parameters()).mul_(1.01)
    folder = work / kind
    shutil.rmtree(folder, ignore_errors=True)
    began = perf_counter()
    if kind == "whole":
        whole = whole_bundle(model, folder)
        (work / "whole.json").write_bytes(msgspec.json.encode(whole.manifest))
        made = 1
    elif kind == "units":
        made = len(cut_bundle(model, folder).manifest.units)
    else:
        plans, _ = cut(model)
        (folder / "units").mkdir(parents=True)
        units, reused = write_units(plans, Bundle.open(work / "units"), folder, (), lambda _title, _parts: lambda: None)
        made = len(units) - len(reused)
    return perf_counter() - began, made


class Silent:
    """Watches builds and says nothing."""

    def started(self, task: Any) -> None: ...
    def progress(self, task: Any, share: float, phase: str) -> None: ...
    def waiting(self, task: Any) -> None: ...
    def finished(self, outcome: Any) -> None: ...


def engines(kind: str, work: Path) -> tuple[float, int]:
    """Build TensorRT engines of what was exported, for an RTX GPU that need not be here.

    Returns:
        Seconds, and how many engines were built.

    Raises:
        MissingExtra: TensorRT for RTX is not installed.
        EngineError: it cannot be loaded, or an engine cannot be built.
    """
    from jetson.bundle import Bundle
    from jetson.decode import decode_manifest
    from jetson.engines.tensorrt.api import load_api
    from jetson.engines.tensorrt.build import Options, build, failure, plan
    from jetson.engines.tensorrt.cache import Cache
    from jetson.engines.tensorrt.target import rtx_target
    from jetson.profiling.device import available_cores

    api = load_api("tensorrt_rtx")
    target = rtx_target(TARGET, api)
    if kind == "whole":
        import msgspec

        from jetson.manifest import Manifest

        found = Bundle(work / kind, msgspec.json.decode((work / "whole.json").read_bytes(), type=Manifest))
    else:
        folder = work / "units"
        found = Bundle(folder, decode_manifest((folder / "manifest.json").read_bytes(), "manifest.json"))
    cache = work / f"cache-{'whole' if kind == 'whole' else 'units'}"
    if kind != "again":
        shutil.rmtree(cache, ignore_errors=True)
    began = perf_counter()
    tasks = plan(found, [("fp32",)] * len(found.manifest.units), target, Options(), api)
    outcomes = build(tasks, Cache(cache), Silent(), available_cores())
    took = perf_counter() - began
    if (error := failure(outcomes)) is not None:
        raise error
    return took, sum(not o.cached for o in outcomes)


def run(work: Path, shape: tuple[str, int, int, int], rounds: int, with_engines: bool) -> dict[str, Any]:
    """Build everything, every round in the same order, since the later kinds need the files of the earlier."""
    seconds: dict[str, list[float]] = {}
    made: dict[str, int] = {}
    why = None if with_engines else "it was left out"
    for index in range(rounds):
        for kind in KINDS:
            took, made[kind] = in_process(export, kind, work, *shape)
            seconds.setdefault(kind, []).append(took)
            tell(f"round {index + 1} of {rounds}: {KINDS[kind]}, {took:.1f} s")
        for name in ENGINES if why is None else ():
            try:
                took, made[name] = in_process(engines, name.rpartition(" ")[2], work)
            except (MissingExtra, EngineError) as error:
                why = str(error)
                break
            seconds.setdefault(name, []).append(took)
            tell(f"round {index + 1} of {rounds}: {ENGINES[name]}, {took:.1f} s")
    return {
        "seconds": {name: spread(took) for name, took in seconds.items()},
        "over_whole": {
            name: spread(np.divide(took, seconds["engines of whole" if name in ENGINES else "whole"]).tolist())
            for name, took in seconds.items()
        },
        "made": made,
        "no_engines": why,
    }


def table(recorded: Recorded) -> str:
    """Seconds, and times the uncut model's."""
    figures, settings = recorded.figures, recorded.settings
    caption = (
        f"ViT-{settings['size']}, {settings['image']} px, {settings['exits']} exits with MLP branches, "
        f"{figures['made']['units']} units, fp32, {setting(recorded)}; {settings['rounds']} rounds, each in a fresh "
        "process, from the PyTorch model to files: median (10 % and 90 % quantile)."
    )
    rows = []
    for name, seconds in figures["seconds"].items():
        ratio = figures["over_whole"][name]
        cells = [
            f"{seconds[0]:.2f} ({seconds[1]:.2f} to {seconds[2]:.2f})",
            f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})",
        ]
        rows.append([(KINDS | ENGINES)[name], str(figures["made"][name]), *cells])
    lines = rows_of(["", "made", "seconds", "× the uncut model"], rows)
    missing = figures["no_engines"]
    said = "" if missing is None else f"\n\nNot measured: TensorRT engines, since {missing}."
    return f"{caption}\n\n{lines}{said}"


def main(words: list[str] | None = None) -> None:
    parser = parser_for("building", __doc__)
    model_option(parser)
    parser.add_argument("--exits", type=int, default=12, help="the last layer's included; a divisor of 12")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-engines", action="store_true", help="leave TensorRT out")
    options = parser.parse_args(words)
    shape = (options.size, options.image, options.patch, options.exits)
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder), shape, options.rounds, not options.no_engines)
    record("building", argparse.Namespace(**vars(options)), figures | {"versions": versions("torch", "tensorrt_rtx")})


if __name__ == "__main__":
    one_line(main, "no figures were written")
