"""`offramp profile`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from jetson.bundle import Bundle
from jetson.files import check_writable
from jetson.manifest import Precision
from jetson.profiling.memory import MemoryUse
from jetson.profiling.profile import LatencyProfile, Sketch
from toolkit.cli.console import out, print_json, print_table, progress_share, say
from toolkit.cli.options import BUNDLE, ENGINE, JSON, PRECISION, THREADS, Size

LEVELS = (0.5, 0.95, 0.99, 0.999)


@click.command("profile")
@BUNDLE
@click.option(
    "--out", default="profile.json", show_default=True, type=click.Path(path_type=Path), help="File to write."
)
@click.option("--rounds", default=1000, show_default=True, type=click.IntRange(1), help="Measure so many rounds,")
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(0), help="or until this time is over."
)
@click.option("--warm-up", default=20, show_default=True, type=click.IntRange(0), help="Rounds that are not counted.")
@click.option("--frame-size", type=Size(), help="Camera frames to preprocess [default: the model's own size].")
@ENGINE
@PRECISION
@THREADS
@JSON
def command(
    bundle: Path,
    out: Path,
    rounds: int,
    seconds: float,
    warm_up: int,
    frame_size: tuple[int, int] | None,
    engine: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure every unit and every exit of BUNDLE on this device, interleaved, and write the latency profile."""
    from jetson.profiling.measure import measure

    check_writable(out)
    opened = Bundle.open(bundle)
    with progress_share(f"profiling {bundle}") as progress:
        profile = measure(
            opened,
            engine=engine or "onnxruntime",
            precision=precision,
            rounds=rounds,
            seconds=seconds,
            warm_up=warm_up,
            frame=frame_size,
            threads=threads,
            progress=progress,
        )
    profile.save(out)
    if as_json:
        print_json(msgspec.to_builtins(profile))
    else:
        show(profile)
    say(f"{profile.frames} inferences -> {out}")


def show(profile: LatencyProfile) -> None:
    """The profile as two tables on stdout."""
    engine, device = profile.engine, profile.device
    where = f"{device.board or device.processor}, {engine.name} {engine.version}, {engine.threads} threads"
    columns = [f"p{100 * level:g}" for level in LEVELS]
    on_gpu = any(unit.gpu_ms is not None for unit in profile.units.values())
    print_table(
        f"Units: milliseconds {'on the GPU, ' if on_gpu else ''}in the engine (host) and from boundary to boundary "
        f"(end to end), {where}",
        [
            *("unit", "precision", "n"),
            *(f"gpu {c}" for c in columns[:-1] if on_gpu),
            *(f"host {c}" for c in columns),
            *(f"e2e {c}" for c in columns[:-1]),
        ],
        [
            [
                *(name, unit.precision, f"{unit.host_ms.n:,}"),
                *(_cells(unit.gpu_ms)[:-1] if unit.gpu_ms is not None else [""] * (3 * on_gpu)),
                *_cells(unit.host_ms),
                *_cells(unit.end_to_end_ms)[:-1],
            ]
            for name, unit in profile.units.items()
        ],
        left=2,
    )
    print_table(
        "Exits: milliseconds from a host array to a host answer",
        ["exit", "n", *columns],
        [
            ["(preprocessing)", f"{profile.preprocess_ms.n:,}", *_cells(profile.preprocess_ms)],
            *([e.name, f"{e.end_to_end_ms.n:,}", *_cells(e.end_to_end_ms)] for e in profile.exits),
        ],
    )
    if profile.memory is not None:
        _show_memory(profile.memory)


def _show_memory(memory: MemoryUse) -> None:
    print_table(
        "Memory: MiB of each unit; scratch and the tokens that segments pass on are shared",
        ["unit", "engine", "scratch", "output"],
        [[u.unit, *(_mib(n) for n in (u.engine, u.scratch, u.output))] for u in memory.units],
    )
    parts = {
        "engines": memory.engines,
        "shared scratch": memory.scratch,
        "tokens": memory.tokens,
        "outputs and input": memory.outputs + memory.input,
        "staging": memory.staging,
    }
    said = " + ".join(f"{name} {_mib(size)}" for name, size in parts.items())
    out.print(f"{_mib(memory.total)} MiB in all ({said}); {_mib(memory.unshared)} MiB if nothing were shared")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.2f}"


def _cells(sketch: Sketch) -> list[str]:
    return [f"{sketch.quantile(level):.3f}" for level in LEVELS]
