"""Build the engines of a bundle: each in a process of its own, into the cache, as many at once as memory allows."""

from __future__ import annotations

import collections
import contextlib
import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jetson.bundle import Bundle
from jetson.engines.tensorrt import headroom
from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.cache import Cache, Entry, Fingerprint, Key, Target
from jetson.engines.tensorrt.jobs import BuildJob, Built, Failed, Progress, Source
from jetson.engines.tensorrt.process import Worker, describe_end, ended, hear_any
from jetson.errors import BadInput, EngineError, StorageError
from jetson.log import get_logger
from jetson.manifest import Precision, Unit

LOOK_AGAIN_S = 0.2
logger = get_logger(__name__)


@dataclass(frozen=True)
class Options:
    """How engines are built."""

    max_batch: int = 1
    """Frames at once; 1 is a static engine, more is an engine for 1 to so many, at its best with that many."""
    optimization_level: int = 3
    """0 builds fastest, 5 searches longest; TensorRT's own default is 3."""
    workspace_bytes: int = 1 << 30
    """Scratch that a tactic may use."""


@dataclass(frozen=True)
class Task:
    """One engine to build."""

    source: Source
    file_bytes: int
    key: Key

    @property
    def name(self) -> str:
        """The unit and its precision, for people."""
        return f"unit {self.source.unit} in {self.source.precision}"


@dataclass(frozen=True)
class Outcome:
    """How one task ended."""

    task: Task
    entry: Entry | None
    """None when it failed."""
    cached: bool
    error: str = ""


class Watcher(Protocol):
    """Is told how the work goes."""

    def started(self, task: Task) -> None:
        """A build begins."""
        ...

    def progress(self, task: Task, share: float, phase: str) -> None:
        """So much of it is done, 0..1."""
        ...

    def waiting(self, task: Task) -> None:
        """Another process builds the same engine."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """A task has ended, well or not."""
        ...


def source_of(bundle: Bundle, unit: Unit, precision: Precision) -> Source:
    """A unit's file in one precision, as workers take it.

    Raises:
        BundleError: the bundle does not hold the unit so.
    """
    return Source(
        unit=unit.name,
        precision=precision,
        file=os.fsencode(bundle.file(unit, precision).absolute()),
        input=unit.input.name,
        shape=unit.input.shape,
        output=unit.output.name,
        further=tuple(t.name for t in bundle.manifest.given(unit)[1:]),
    )


def plan(
    bundle: Bundle, precisions: Sequence[Sequence[Precision]], target: Target, options: Options, api: Api
) -> list[Task]:
    """What there is to build.

    Args:
        bundle: opened and verified.
        precisions: those each unit is wanted in, in the order of the units; a fused branch is in its segment's engine.
        target: what for.
        options: how.
        api: which TensorRT.

    Raises:
        BundleError: a unit is not there in a precision.
        BadInput: batches are wanted of a unit that takes one frame at a time.
    """
    tasks = []
    for unit, wanted in zip(bundle.manifest.units, precisions, strict=True):
        if unit.fused is not None:
            continue
        if options.max_batch > 1 and not unit.dynamic_batch:
            raise BadInput(
                f"unit {unit.name} takes one frame at a time, so --max-batch {options.max_batch} cannot be had; build "
                "the bundle again with: offramp build CHECKPOINT --out BUNDLE"
            )
        for precision in wanted:
            key = Key(
                unit_sha256=unit.at(precision).sha256,
                precision=precision,
                max_batch=options.max_batch,
                optimization_level=options.optimization_level,
                workspace_bytes=options.workspace_bytes,
                package=api.package,
                version=api.version,
                target=target,
            )
            tasks.append(Task(source_of(bundle, unit, precision), unit.at(precision).size_bytes, key))
    return tasks


def build(tasks: Sequence[Task], cache: Cache, watcher: Watcher, jobs: int = 1, force: bool = False) -> list[Outcome]:
    """Build what is not in the cache yet. What fails does not keep the others from being built.

    Args:
        tasks: of `plan`.
        cache: to look in and to build into.
        watcher: is told how it goes.
        jobs: builds at once, fewer while memory is short.
        force: build again what is there already.

    Returns:
        One outcome per task, in their order.

    Raises:
        StorageError: the cache cannot be used or the disk is full.
    """
    outcomes: dict[int, Outcome] = {}
    pending: collections.deque[int] = collections.deque()
    for number, task in enumerate(tasks):
        entry = None if force else cache.find(task.key)
        if entry is None:
            pending.append(number)
        else:
            outcomes[number] = Outcome(task, entry, cached=True)
            _ended(outcomes[number], watcher)
    if pending:
        cache.make_folder()
        _Crew(tasks, cache, watcher, jobs, force, pending, outcomes).work()
    return [outcomes[number] for number in range(len(tasks))]


def _ended(outcome: Outcome, watcher: Watcher) -> None:
    made = outcome.entry.fingerprint if outcome.entry is not None else None
    how = "not built" if made is None else "from the cache" if outcome.cached else f"built in {made.seconds:.2f} s"
    logger.info("%s: %s", outcome.task.name, how)
    watcher.finished(outcome)


@dataclass
class _Build:
    task: Task
    worker: Worker
    file: Path
    needs: int
    lock: contextlib.ExitStack
    built: Built | None = None
    failed: Failed | None = None


class _Crew:
    """The builds of one call that run now, and those that wait."""

    def __init__(
        self,
        tasks: Sequence[Task],
        cache: Cache,
        watcher: Watcher,
        jobs: int,
        force: bool,
        pending: collections.deque[int],
        outcomes: dict[int, Outcome],
    ) -> None:
        self.tasks, self.cache, self.watcher, self.force = tasks, cache, watcher, force
        self.jobs, self.pending, self.outcomes = max(1, jobs), pending, outcomes
        self.running: dict[int, _Build] = {}
        self.told: set[int] = set()

    def work(self) -> None:
        """Do it all; whatever ends this early ends the workers too and leaves nothing half written."""
        try:
            while self.pending or self.running:
                self._start_what_can()
                if self.running:
                    workers = [b.worker for b in self.running.values()]
                    hear_any(workers, LOOK_AGAIN_S if self.pending else None)
                    self._take_answers()
                elif self.pending:
                    time.sleep(LOOK_AGAIN_S)
        finally:
            self._end()

    def _start_what_can(self) -> None:
        for _ in range(len(self.pending)):
            if len(self.running) >= self.jobs:
                return
            number = self.pending.popleft()
            if not self._start(number):
                self.pending.append(number)

    def _start(self, number: int) -> bool:
        """Begin a task, or find that nothing need be done; false when it has to wait."""
        task = self.tasks[number]
        with contextlib.ExitStack() as lock:
            if not lock.enter_context(self.cache.locked(task.key)):
                if number not in self.told:
                    self.told.add(number)
                    self.watcher.waiting(task)
                return False
            # Who held the lock before may have built it.
            entry = None if self.force and number not in self.told else self.cache.find(task.key)
            if entry is not None:
                self._finish(number, Outcome(task, entry, cached=True))
                return True
            on_device = task.key.target.kind == "device"
            needs = headroom.needed_bytes(task.file_bytes, task.key.workspace_bytes, on_device)
            free = self._free_bytes()
            if free is not None and needs > free:
                if self.running:
                    return False
                self._finish(number, Outcome(task, None, cached=False, error=_too_little(task, needs, free)))
                return True
            file = self.cache.new_file(task.key)
            lock.callback(file.unlink, missing_ok=True)
            worker = Worker(_job(task, file))
            self.running[number] = _Build(task, worker, file, needs, lock.pop_all())
        self.watcher.started(task)
        return True

    def _free_bytes(self) -> int | None:
        """What is left when the builds that run now have taken all they may."""
        free = headroom.available_bytes()
        if free is None:
            return None
        return free - sum(max(0, b.needs - headroom.resident_bytes(b.worker.pid)) for b in self.running.values())

    def _take_answers(self) -> None:
        for number, build in list(self.running.items()):
            for answer in build.worker.answers:
                if isinstance(answer, Progress):
                    self.watcher.progress(build.task, answer.share, answer.phase)
                elif isinstance(answer, Built):
                    build.built = answer
                elif isinstance(answer, Failed):
                    build.failed = answer
            build.worker.answers.clear()
            if not build.worker.pipes:
                self._end_build(number, build)

    def _end_build(self, number: int, build: _Build) -> None:
        status, task = build.worker.wait(), build.task
        with build.lock:
            del self.running[number]
            if build.built is not None:
                fingerprint = Fingerprint(
                    unit=task.source.unit,
                    key=task.key,
                    sha256=build.built.sha256,
                    size_bytes=build.built.size_bytes,
                    device_memory_bytes=build.built.device_memory_bytes,
                    seconds=round(build.built.seconds, 3),
                    created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
                )
                outcome = Outcome(task, self.cache.put(build.file, fingerprint), cached=False)
            elif build.failed is not None and build.failed.storage:
                raise StorageError(build.failed.reason)
            else:
                outcome = Outcome(task, None, cached=False, error=f"{task.name}: {_why(build, status)}")
        self._finish(number, outcome)

    def _finish(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        _ended(outcome, self.watcher)

    def _end(self) -> None:
        builds = list(self.running.values())
        with contextlib.ExitStack() as stack:
            for build in builds:
                stack.enter_context(build.lock)  # given back once its worker has ended
            with ended([b.worker for b in builds]):
                pass


def _job(task: Task, file: Path) -> BuildJob:
    return BuildJob(
        source=task.source,
        package=task.key.package,
        target=task.key.target,
        max_batch=task.key.max_batch,
        optimization_level=task.key.optimization_level,
        workspace_bytes=task.key.workspace_bytes,
        engine=os.fsencode(file),
    )


def _why(build: _Build, status: int) -> str:
    words = build.worker.last_words()
    if build.failed is None:
        return describe_end(status, words)
    if build.failed.nodes:
        return f"{build.failed.reason}: " + "; ".join(map(str, build.failed.nodes))
    return build.failed.reason + (f": {words}" if words else "")


def _too_little(task: Task, needs: int, free: int) -> str:
    return (
        f"{task.name} takes up to {needs / 1e9:.1f} GB to build, and {max(0, free) / 1e9:.1f} GB are free: close other "
        "programs, add swap, or give --jobs 1 and a smaller --workspace-mb"
    )


def failure(outcomes: Sequence[Outcome]) -> EngineError | None:
    """The error to raise for what could not be built; None when all is there."""
    failed = [o for o in outcomes if o.entry is None]
    if not failed:
        return None
    if len(failed) == 1:
        return EngineError(failed[0].error)
    names = ", ".join(o.task.name.removeprefix("unit ") for o in failed)
    return EngineError(f"{len(failed)} of {len(outcomes)} engines could not be built: {names}")
