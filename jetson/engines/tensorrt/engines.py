"""TensorRT engines of a bundle's units, sharing one scratch block and two token buffers."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.bundle import Bundle
from jetson.cuda import Cuda, Event, Graph, load_cuda
from jetson.engines.tensorrt.api import Api, load_api
from jetson.engines.tensorrt.cache import Cache
from jetson.engines.tensorrt.choose import rebuild
from jetson.engines.tensorrt.graphs import Step, record_graphs
from jetson.engines.tensorrt.layout import Layout, in_order, size_bytes
from jetson.engines.tensorrt.load import FAILURES, forget, load_engine, make_context, make_runtime, said
from jetson.engines.tensorrt.log import Log, make_logger
from jetson.engines.tensorrt.target import this_target
from jetson.errors import CudaError, EngineError, PathError
from jetson.log import get_logger
from jetson.manifest import Precision
from jetson.profiling.memory import MemoryUse, UnitMemory
from jetson.profiling.profile import EngineInfo

logger = get_logger(__name__)
RESTART = "the GPU is lost to this process, start it again"


class TensorRTEngines:
    """`Engines` on TensorRT.

    A unit's GPU time runs from the mark before it to the mark behind it, copies between host and device included
    where there are any. For one thread at a time; which one does not matter.
    """

    ahead = True
    input: npt.NDArray[np.float32]
    memory: MemoryUse | None

    def __init__(
        self,
        bundle: Bundle,
        precisions: Sequence[Precision],
        cuda: Cuda | None = None,
        api: Api | None = None,
        cache: Cache | None = None,
        graphs: bool = True,
    ) -> None:
        """Load every unit's engine from the cache.

        Args:
            bundle: opened and verified.
            precisions: the one each unit runs in.
            cuda: the device; `load_cuda` when None, and then closed with the engines.
            api: TensorRT; `load_api` when None.
            cache: where the engines are; the usual one when None.
            graphs: whether to record CUDA graphs.

        Raises:
            MissingExtra: TensorRT or a CUDA package is not installed.
            EngineError: an engine is not in the cache, does not fit, or cannot run; or the GPU has no room.
        """
        self.precisions: tuple[Precision, ...] = tuple(precisions)
        self.remarks: list[str] = []
        """Which units run without a CUDA graph, and why."""
        self._units = bundle.manifest.units
        self._contexts: list[Any] = []
        self._engines: list[Any] = []
        self._runtime: Any = None
        self._graphs: dict[int, Graph] = {}
        self._marks: list[Event] = []
        self._ms: dict[int, float] = {}
        self._gone: str | None = None
        """Why nothing can run any more."""
        self._closed = False
        self._stack = contextlib.ExitStack()
        """Frees everything, the last made first."""
        try:
            api = api or load_api()
            if cuda is None:
                cuda = load_cuda()
                self._stack.callback(cuda.close)
            self._cuda = cuda
            cuda.enter()
            self._load(bundle, api, cache or Cache())
            if graphs:
                self._record(api)
        except BaseException as error:
            # The frames of what failed would keep TensorRT's objects alive beyond their device.
            traceback.clear_frames(error.__traceback__)
            with contextlib.suppress(CudaError):
                self._free(cuda)
            raise
        self.info = EngineInfo(name="tensorrt", version=f"{api.package} {api.version}", threads=1)

    def run(self, unit: int) -> None:
        """Run a unit to its end; raises `EngineError` naming the unit when TensorRT or CUDA fails."""
        try:
            self.run_path((unit,))
        except PathError as error:
            raise EngineError(str(error)) from error

    def run_path(self, units: Sequence[int]) -> None:
        """Run units one after another and wait once, at the end; raises `PathError` when one fails."""
        self._check_usable()
        own = [u for u in units if self._units[u].fused is None]
        self._ms.update((u, 0.0) for u in units if self._units[u].fused is not None)
        if not own:
            return
        forget(self._log)
        enqueued = 0
        try:
            self._cuda.enter()
            while len(self._marks) <= len(own):
                self._marks.append(self._cuda.event())
            self._marks[0].record()
            for unit, mark in zip(own, self._marks[1:], strict=False):
                self._launch(unit)
                mark.record()
                enqueued += 1
            self._marks[enqueued].wait()
            for place, unit in enumerate(own):
                self._ms[unit] = self._marks[place + 1].since_ms(self._marks[place])
        except EngineError as error:
            raise self._failure(units, own, enqueued, error) from error
        except BaseException:  # an interrupt must not leave a copy of the input pending
            with contextlib.suppress(CudaError):
                self._cuda.synchronize()
            raise

    def gpu_ms(self, unit: int) -> float | None:
        """Milliseconds of the unit's last run on the GPU; None before the first."""
        return self._ms.get(unit)

    def output(self, unit: int) -> npt.NDArray[Any]:
        """A branch's output in place; of a segment a copy, fetched from the device."""
        self._check_usable()
        self._cuda.enter()
        return self._layout.output(unit)

    def close(self) -> None:
        """Free graphs, contexts, memory, engines and the CUDA we made, in this order; a second call does nothing."""
        if self._closed:
            return
        lost = self._gone is not None
        self._closed, self._gone = True, "the engines are closed"
        self.input = np.zeros_like(self.input)  # what a late writer gets; the page-locked memory goes
        self._marks.clear()
        try:
            self._free(self._cuda)
        except CudaError:
            if not lost:  # a lost device frees nothing, and has said so
                raise

    def _free(self, cuda: Cuda | None) -> None:
        try:
            if cuda is not None:
                cuda.enter()
                cuda.synchronize()
        finally:
            self._stack.close()

    def _load(self, bundle: Bundle, api: Api, cache: Cache) -> None:
        """Deserialise and check every engine, lay the memory out, and bind a context of each engine to it."""
        target = this_target(self._cuda)
        self._log = Log()
        self._logger = make_logger(api.trt, self._log.add)  # TensorRT keeps no reference of its own
        self._stack.callback(setattr, self, "_runtime", None)
        self._runtime = make_runtime(api, self._logger, self._log)
        self._stack.callback(self._engines.clear)
        shares: list[UnitMemory] = []
        for unit, precision in zip(self._units, self.precisions, strict=True):
            if unit.fused is not None:
                self._engines.append(None)
                shares.append(UnitMemory(unit=unit.name, engine=0, scratch=0, output=size_bytes(unit.output)))
                continue
            sha256 = unit.at(precision).sha256
            entry = cache.engine_for(unit.name, sha256, precision, api.package, api.version, target, bundle.path)
            plan = cache.read(entry, bundle.path)
            mend = rebuild(precision, entry.fingerprint.key.target, bundle.path) + " --force"
            further = bundle.manifest.given(unit)[1:]
            engine = load_engine(api, self._runtime, self._log, plan, unit, mend, further)
            self._engines.append(engine)
            shares.append(
                UnitMemory(
                    unit=unit.name,
                    engine=len(plan),
                    scratch=engine.device_memory_size_v2,
                    output=size_bytes(unit.output),
                )
            )
        scratch_bytes = max(s.scratch for s in shares)
        try:
            self._layout = layout = Layout(self._cuda, bundle.manifest, scratch_bytes, self._stack)
        except CudaError as error:
            room = f"{scratch_bytes / 2**20:.0f} MiB of scratch, and for tokens, input and outputs"
            raise EngineError(f"the GPU has no room for {room}: {error}") from error
        self.input = layout.input
        self._stack.callback(self._contexts.clear)
        for index, (engine, unit) in enumerate(zip(self._engines, self._units, strict=True)):
            if engine is None:
                self._contexts.append(None)
                continue
            targets = {self._units[i].output.name: layout.targets[i] for i in layout.written[index]}
            self._contexts.append(make_context(api, engine, self._log, unit, layout.sources[index], targets, layout))
        self.memory = MemoryUse(
            units=tuple(shares),
            scratch=layout.scratch_bytes,
            tokens=layout.tokens_bytes,
            outputs=sum(s.output for s, u in zip(shares, self._units, strict=True) if u.kind == "branch"),
            input=layout.input.nbytes,
            staging=0 if layout.zero_copy else layout.ends_bytes,
        )

    def _record(self, api: Api) -> None:
        """Record a CUDA graph of every unit that can have one."""
        if not self._cuda.has_graphs:
            self.remarks.append(f"no CUDA graphs: {self._cuda.name} cannot record them, cuda.bindings can")
            logger.info(self.remarks[-1])
            return
        steps = [
            Step(
                unit=unit,
                name=self._units[unit].name,
                precision=self.precisions[unit],
                enqueue=functools.partial(self._enqueue, unit),
                capturable=functools.partial(self._capturable, api, unit),
            )
            for unit in in_order(self._units)
            if self._units[unit].fused is None
        ]
        self._graphs = record_graphs(self._cuda, self._layout, steps, self._remark, self._stack)

    def _remark(self, text: str) -> None:
        self.remarks.append(text)
        logger.warning(text)

    def _capturable(self, api: Api, unit: int) -> bool:
        context = self._contexts[unit]
        if api.rtx:
            return bool(context.is_stream_capturable(self._cuda.stream))
        return True

    def _launch(self, unit: int) -> None:
        graph = self._graphs.get(unit)
        if graph is not None:
            graph.launch()
        else:
            self._enqueue(unit)

    def _enqueue(self, unit: int) -> None:
        """Put a unit into the stream, and the copies it needs."""
        self._layout.copy_in(unit)
        context = self._contexts[unit]
        done, reason = False, None
        try:
            done = context.execute_async_v3(self._cuda.stream)
        except FAILURES as error:
            reason = error
        if not done:
            raise EngineError(f"unit {self._units[unit].name} failed in TensorRT: {said(self._log, reason)}")
        self._layout.copy_out(unit)

    def _failure(self, units: Sequence[int], own: Sequence[int], enqueued: int, error: EngineError) -> PathError:
        """What to raise when a path failed, once what it had put into the stream has ended.

        Args:
            units: the path.
            own: of these, the units that have an engine.
            enqueued: how many of those were put into the stream.
            error: what happened.
        """
        names = [self._units[u].name for u in own[: enqueued + 1]]
        finished = units.index(own[len(names) - 1])
        try:
            self._cuda.synchronize()
        except CudaError as lost:
            # Work on the GPU fails after the call that ordered it, and CUDA does not say which work it was.
            who = f"unit {names[0]}" if len(names) == 1 else f"one of the units {', '.join(names)}"
            self._gone = f"{who} failed on the GPU: {lost}; {RESTART}"
            return PathError(self._gone, 0)
        if isinstance(error, CudaError):
            return PathError(f"unit {names[-1]} failed on the GPU: {error}", finished)
        return PathError(str(error), finished)

    def _check_usable(self) -> None:
        if self._gone is not None:
            raise EngineError(self._gone)
