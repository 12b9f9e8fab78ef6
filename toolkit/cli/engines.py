"""`offramp engines`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from jetson.bundle import Bundle
from jetson.errors import BadInput, CudaError, MissingExtra, missing_extra
from jetson.manifest import Precision
from jetson.profiling.device import available_cores
from toolkit.cli.console import animated, notes, print_json, print_table, say
from toolkit.cli.options import JSON, Precisions
from toolkit.cli.progress_lines import tell, told_as_json

if TYPE_CHECKING:
    from jetson.engines.tensorrt.api import Api
    from jetson.engines.tensorrt.build import Outcome, Task
    from jetson.engines.tensorrt.cache import Cache, Target

THIS_DEVICE = "this-device"
MB = 1 << 20


@click.command("engines")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--precision", type=Precisions(), help="Of every unit [default: fp16 if the bundle has it].")
@click.option("--target", help="this-device, or an RTX GPU: sm75, sm80, sm86, sm89, ... [default: this-device].")
@click.option("--max-batch", default=1, show_default=True, type=click.IntRange(1, 4096), help="Frames at once.")
@click.option(
    "--optimization-level", default=3, show_default=True, type=click.IntRange(0, 5), help="5 searches longest."
)
@click.option(
    "--workspace-mb", default=1024, show_default=True, type=click.IntRange(1, 1 << 20), help="Scratch for tactics."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Builds at once [default: 1 on this device, else all cores].")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Folder of engines [default: OFFRAMP_CACHE].")
@click.option("--force", is_flag=True, help="Build again what is in the cache already.")
@click.option("--list", "list_", is_flag=True, help="Show what is in the cache, of BUNDLE alone if it is given.")
@click.option(
    "--prune",
    is_flag=True,
    help="Remove engines that are damaged, unfinished, or built by or for another TensorRT or device than is here; "
    "with BUNDLE, also those of other bundles.",
)
@JSON
def command(
    bundle: Path | None,
    precision: tuple[Precision, ...] | None,
    target: str | None,
    max_batch: int,
    optimization_level: int,
    workspace_mb: int,
    jobs: int | None,
    folder: Path | None,
    force: bool,
    list_: bool,
    prune: bool,
    as_json: bool,
) -> None:
    """Build a TensorRT engine of every unit of BUNDLE, for this device or for a named kind of RTX GPU.

    A Jetson's engines are built on that Jetson. Engines lie in a cache; what is there already is not built again.
    """
    from jetson.engines.tensorrt.build import Options, build, failure, plan
    from jetson.engines.tensorrt.cache import Cache

    cache = Cache(folder)
    if list_ or prune:
        from toolkit.cli import engines_cache

        if list_ and prune:
            raise BadInput("give either --list or --prune")
        work = engines_cache.list_engines if list_ else engines_cache.prune_engines
        work(cache, None if bundle is None else Bundle.open(bundle), as_json)
        return
    if bundle is None:
        raise BadInput("name the bundle whose engines are wanted: offramp engines BUNDLE (or --list, --prune)")
    opened = Bundle.open(bundle)
    for_whom, api = find_target(target)
    options = Options(max_batch, optimization_level, workspace_mb * MB)
    tasks = plan(opened, _per_unit(opened, precision), for_whom, options, api)
    if for_whom.kind == "rtx":
        say(f"these engines are for RTX GPUs of {for_whom.sm}, not for a Jetson: a Jetson's are built on that Jetson")
    at_once = jobs or (1 if for_whom.kind == "device" else available_cores())
    with _bars(len(tasks)) as watcher:
        outcomes = build(tasks, cache, watcher, at_once, force)
    if as_json:
        print_json(describe(outcomes, for_whom, api, cache))
    else:
        show(outcomes, for_whom, api)
    error = failure(outcomes)
    if error is not None:
        failed = [o.error for o in outcomes if o.error]
        for line in failed if len(failed) > 1 else []:
            say(line)
        raise error


def find_target(name: str | None) -> tuple[Target, Api]:
    """What to build for, and with which TensorRT.

    Args:
        name: `this-device`, an RTX target, or None for this device where it has a GPU.

    Raises:
        BadInput: there is no GPU, or this TensorRT does not build for it.
        MissingExtra: there is no TensorRT for it.
    """
    from jetson.engines.tensorrt.api import load_api
    from jetson.engines.tensorrt.target import check_runs_here, device_target, rtx_target

    if name is not None and name != THIS_DEVICE:
        try:
            api = load_api("tensorrt_rtx")
        except MissingExtra:
            with contextlib.suppress(MissingExtra):
                rtx_target(name, load_api())  # says that JetPack's does not do it
            raise missing_extra("tensorrt_rtx", "rtx") from None
        return rtx_target(name, api), api
    api = load_api()
    try:
        here = device_target()
    except (MissingExtra, CudaError) as error:
        if name == THIS_DEVICE:
            raise
        raise BadInput(
            f"no GPU can be used here ({error}); to build for another machine name its GPU, e.g. --target sm86"
        ) from None
    check_runs_here(here, api)
    return here, api


def _per_unit(bundle: Bundle, wanted: tuple[Precision, ...] | None) -> list[tuple[Precision, ...]]:
    from jetson.engines import default_precisions

    if wanted is None:
        return [(p,) for p in default_precisions(bundle, "tensorrt")]
    chosen = zip(*(bundle.manifest.nearest(precision) for precision in wanted), strict=True)
    return [tuple(dict.fromkeys(unit)) for unit in chosen]


def describe(outcomes: Sequence[Outcome], target: Target, api: Api, cache: Cache) -> dict[str, Any]:
    """The outcomes as data."""
    engines = []
    for outcome in outcomes:
        source, entry = outcome.task.source, outcome.entry
        engines.append(
            {
                "unit": source.unit,
                "precision": source.precision,
                "digest": outcome.task.key.digest,
                "path": str(entry.path) if entry else None,
                "size_bytes": entry.fingerprint.size_bytes if entry else None,
                "seconds": entry.fingerprint.seconds if entry else None,
                "device_memory_bytes": entry.fingerprint.device_memory_bytes if entry else None,
                "cached": outcome.cached,
                "error": outcome.error or None,
            }
        )
    return {
        "target": msgspec.to_builtins(target),
        "tensorrt": {"package": api.package, "version": api.version},
        "cache": str(cache.folder),
        "engines": engines,
    }


def show(outcomes: Sequence[Outcome], target: Target, api: Api) -> None:
    """The outcomes as a table on stdout."""
    from jetson.engines.tensorrt.choose import tensorrt_name

    rows = []
    for outcome in outcomes:
        made = outcome.entry.fingerprint if outcome.entry else None
        took = "failed" if made is None else "cached" if outcome.cached else f"{made.seconds:.1f}"
        size = f"{made.size_bytes / MB:.1f}" if made else "-"
        rows.append([outcome.task.source.unit, outcome.task.source.precision, size, took])
    title = f"Engines for {target}, {tensorrt_name(api.package, api.version)}"
    print_table(title, ["unit", "precision", "MiB", "seconds"], rows, left=2)


class _Plain:
    """Says a line when a build begins."""

    def started(self, task: Task) -> None:
        say(f"building {task.name} ...")

    def progress(self, task: Task, share: float, phase: str) -> None:
        pass

    def waiting(self, task: Task) -> None:
        say(f"{task.name} is being built by another process; waiting for it")

    def finished(self, outcome: Outcome) -> None:
        pass


class _Bars(_Plain):
    """A bar for every unit that is being built."""

    def __init__(self, bars: Any) -> None:
        self._bars, self._ids = bars, {}  # type: ignore[var-annotated]

    def started(self, task: Task) -> None:
        self._ids[task] = self._bars.add_task(task.name, total=1.0, phase="")

    def progress(self, task: Task, share: float, phase: str) -> None:
        self._bars.update(self._ids[task], completed=share, phase=phase)

    def finished(self, outcome: Outcome) -> None:
        if outcome.task in self._ids:
            ended = {"phase": "failed"} if outcome.entry is None else {"phase": "", "completed": 1.0}
            self._bars.update(self._ids[outcome.task], **ended)
            self._bars.stop_task(self._ids[outcome.task])


class _Told(_Plain):
    """Lines of JSON, whose share is that of all engines together."""

    def __init__(self, count: int) -> None:
        self._count, self._ended = count, 0
        self._shares: dict[Task, float] = {}

    def _tell(self, text: str) -> None:
        share = (self._ended + sum(self._shares.values())) / max(1, self._count)
        tell(text, share, ended=self._ended, engines=self._count)

    def started(self, task: Task) -> None:
        self._tell(f"building {task.name}")

    def progress(self, task: Task, share: float, phase: str) -> None:
        self._shares[task] = share
        self._tell(f"building {task.name}")

    def waiting(self, task: Task) -> None:
        self._tell(f"{task.name} is being built by another process")

    def finished(self, outcome: Outcome) -> None:
        self._shares.pop(outcome.task, None)
        self._ended += 1
        self._tell(f"{outcome.task.name} {'failed' if outcome.entry is None else 'is there'}")


@contextlib.contextmanager
def _bars(count: int) -> Iterator[_Plain]:
    if told_as_json():
        yield _Told(count)
        return
    if not animated():
        yield _Plain()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    name, phase = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[phase]}", markup=False)
    with Progress(name, BarColumn(bar_width=30), TimeElapsedColumn(), phase, console=notes) as bars:
        yield _Bars(bars)
