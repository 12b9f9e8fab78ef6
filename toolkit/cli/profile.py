"""`offramp profile`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from jetson.bundle import Bundle
from jetson.errors import StorageError
from jetson.files import check_writable
from jetson.loading import Wishes
from jetson.manifest import Precision
from jetson.profiling.energy import Energy
from jetson.profiling.memory import MemoryUse
from jetson.profiling.profile import Circumstance, ExitLatency, LatencyProfile, Sketch
from toolkit.cli.console import out, print_json, print_table, progress_share, say
from toolkit.cli.options import BUNDLE, ENGINE, JSON, PRECISION, THREADS, Names, Size, Sizes

CONDITIONS = ("warm", "cold", "idle", "loaded")
LEVELS = (0.5, 0.95, 0.99, 0.999)


@click.command("profile")
@BUNDLE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write; with --power-modes a folder [default: profile.json; profiles].",
)
@click.option("--rounds", default=1000, show_default=True, type=click.IntRange(1), help="Measure so many rounds,")
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(0), help="or until this time is over."
)
@click.option("--warm-up", default=20, show_default=True, type=click.IntRange(0), help="Rounds that are not counted.")
@click.option("--frame-size", type=Size(), help="Camera frames to preprocess [default: the model's own size].")
@click.option(
    "--conditions",
    type=Names(CONDITIONS),
    default="warm",
    show_default=True,
    help="Measure latency under these too, for --seconds each: cold, idle, loaded. Warm is measured always.",
)
@click.option(
    "--idle-seconds",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="The pause before each inference of idle.",
)
@click.option("--energy/--no-energy", default=True, help="Measure each unit's energy, where the board tells its power.")
@click.option(
    "--burst-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Run each unit so long for its energy.",
)
@click.option(
    "--power-modes", type=Names(), help="Measure in these power modes, or in all: all|NAME[,NAME]. Asks first."
)
@click.option("--yes", is_flag=True, help="With --power-modes: do not ask.")
@click.option(
    "--settle",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="With --power-modes: wait so many seconds after a change of mode.",
)
@click.option(
    "--batches", type=Sizes(), help="Measure so many frames at once as well, e.g. 2,4, for Runtime.infer_many."
)
@ENGINE
@PRECISION
@THREADS
@JSON
def command(
    bundle: Path,
    out: Path | None,
    rounds: int,
    seconds: float,
    warm_up: int,
    frame_size: tuple[int, int] | None,
    batches: tuple[int, ...] | None,
    conditions: tuple[str, ...],
    idle_seconds: float,
    energy: bool,
    burst_seconds: float,
    power_modes: tuple[str, ...] | None,
    yes: bool,
    settle: float,
    engine: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure every unit and every exit of BUNDLE on this device, interleaved, and write the latency profile.

    With --power-modes a profile for each mode, into a folder that `offramp run --profile` takes. The mode that held
    before holds again afterwards, also after Ctrl-C; a mode that asks for a reboot is skipped.
    """
    if power_modes is not None:
        words = [str(bundle), "--rounds", str(rounds), "--seconds", str(seconds), "--warm-up", str(warm_up)]
        words += ["--conditions", ",".join(conditions), "--idle-seconds", str(idle_seconds)]
        words += ["--burst-seconds", str(burst_seconds), *([] if energy else ["--no-energy"])]
        size = None if frame_size is None else "{}x{}".format(*frame_size)
        words += [] if batches is None else ["--batches", ",".join(map(str, batches))]
        for name, value in (("frame-size", size), ("engine", engine), ("precision", precision), ("threads", threads)):
            words += [] if value is None else [f"--{name}", str(value)]
        _in_modes(bundle, power_modes, out or Path("profiles"), words, yes, settle, as_json)
        return
    from jetson.profiling.measure import measure

    file = out or Path("profile.json")
    check_writable(file)
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
            batches=batches or (),
            threads=threads,
            others=[name for name in conditions if name != "warm"],
            idle_s=idle_seconds,
            burst_s=burst_seconds if energy else None,
            progress=progress,
        )
    profile.save(file)
    Wishes().begin(opened, profile)(False)  # what the planner finds is kept, so that the first load need not find it
    if as_json:
        print_json(msgspec.to_builtins(profile))
    else:
        show(profile)
    say(f"{profile.frames} inferences -> {file}")


def _in_modes(
    bundle: Path, names: tuple[str, ...], folder: Path, words: list[str], yes: bool, settle: float, as_json: bool
) -> None:
    from toolkit.cli.power_modes import profile_modes

    if folder.is_file():
        raise StorageError(f"cannot write {folder}: with --power-modes it is a folder, and a file is there")
    check_writable(folder / "profile.json")
    Bundle.open(bundle)
    files = profile_modes(names, folder, words, yes, settle)
    if as_json:
        print_json([msgspec.to_builtins(LatencyProfile.load(f)) for f in files])
    else:
        show_modes([LatencyProfile.load(f) for f in files])
    say(f"{len(files)} profiles -> {folder}")


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
    if profile.batches:
        _show_batches(profile)
    for found in profile.circumstances:
        _show_circumstance(found, profile)
    if profile.energy is not None:
        _show_energy(profile.energy)
    if profile.memory is not None:
        _show_memory(profile.memory)


def show_modes(profiles: list[LatencyProfile]) -> None:
    """Several power modes side by side, on stdout."""
    print_table(
        "Power modes: milliseconds from a host array to a host answer, p50 and p95",
        ["power mode", "cores", *(f"{e.name} {c}" for e in profiles[0].exits for c in ("p50", "p95")), "W"],
        [
            [
                str(p.device.power_mode),
                str(p.device.cores),
                *(f"{e.end_to_end_ms.quantile(level):.3f}" for e in p.exits for level in (0.5, 0.95)),
                "" if p.power_w is None else f"{p.power_w:.2f}",
            ]
            for p in profiles
        ],
    )


def _show_circumstance(found: Circumstance, profile: LatencyProfile) -> None:
    what = {
        "cold": "the first inference after loading",
        "idle": f"after a pause of {found.pause_s:g} s" if found.pause_s is not None else "after a pause",
        "loaded": f"beside {found.others} other process{'es' if found.others != 1 else ''} at the deepest exit",
    }
    warm = {e.name: e.end_to_end_ms.median for e in profile.exits}
    print_table(
        f"Exits, {found.name}: {what[found.name]}; milliseconds, and p50 as a multiple of the warm one",
        ["exit", "n", "p50", "p95", "x warm"],
        [
            [
                *(e.name, f"{e.end_to_end_ms.n:,}", f"{e.end_to_end_ms.median:.3f}"),
                *(f"{e.end_to_end_ms.quantile(0.95):.3f}", f"{e.end_to_end_ms.median / warm[e.name]:.2f}"),
            ]
            for e in found.exits
        ],
    )
    if found.load_ms is not None:
        out.print(f"loading took {found.load_ms.median:.1f} ms (p50 of {found.load_ms.n})")
    if found.other_ms is not None:
        out.print(f"the deepest exit took {found.other_ms:.3f} ms there on average")


def _show_energy(energy: Energy) -> None:
    print_table(
        f"Energy: of a run, on {' + '.join(energy.rails)} by {energy.source}; {energy.idle_w:.2f} W at rest",
        ["unit", "mJ", "above rest mJ", "W", "ms from run to run", "runs", "readings"],
        [
            [
                *(name, f"{u.mj:.3f}", f"{u.above_idle_mj:.3f}", f"{u.power_w:.2f}"),
                *(f"{u.run_ms:.3f}", f"{u.runs:,}", f"{u.readings:,}"),
            ]
            for name, u in energy.units.items()
        ],
    )


def _show_batches(profile: LatencyProfile) -> None:
    print_table(
        "Batches: p50 in milliseconds for all frames of a batch, in brackets over that of as many one after another",
        ["exit", *(f"{b.frames} frames" for b in profile.batches)],
        [
            [one.name, *(_together(b.exits[place], b.in_turn[place]) for b in profile.batches)]
            for place, one in enumerate(profile.exits)
        ],
    )


def _together(batch: ExitLatency, in_turn: ExitLatency) -> str:
    took = batch.end_to_end_ms.median
    return f"{took:.3f} ({took / in_turn.end_to_end_ms.median:.2f})"


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
