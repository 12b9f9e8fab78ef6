"""ONNX Runtime on the CPU: one thread pool and one arena for all units, inputs and outputs bound once."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.beside import beside
from jetson.bundle import Bundle
from jetson.errors import BadInput, EngineError, PathError, first_line
from jetson.manifest import BATCH, Precision, Tensor, Unit
from jetson.profiling.device import available_cores
from jetson.profiling.memory import MemoryUse
from jetson.profiling.profile import MAX_THREADS, EngineInfo
from jetson.quiet import import_onnxruntime

ALIGNMENT = 64
UNWANTED = ["MatMulAddFusion"]
"""In int8: it makes a Gemm of a product and its bias before the product is found to be one of int8, and that Gemm then
runs in float."""
ORT_TYPES = {"float32": "float", "float16": "float16", "uint8": "uint8"}

_process_threads: int | None = None
"""Threads of the process-wide pool, once it exists: ONNX Runtime has one environment per process."""


class OnnxRuntimeEngines:
    """`Engines` on ONNX Runtime's CPU provider."""

    ahead = False
    memory: MemoryUse | None = None

    def __init__(
        self, bundle: Bundle, threads: int | None = None, precisions: Sequence[Precision] | None = None
    ) -> None:
        """Create a session per unit and bind it to shared memory.

        Args:
            bundle: opened and verified.
            threads: of the pool all units share; when None what this process runs with already, else all cores it
                may use. The first load in a process decides: ONNX Runtime cannot change its pool afterwards.
            precisions: the one each unit runs in; its own when None.

        Raises:
            BadInput: not 1 to 1024 threads, or another number than this process already runs with.
            EngineError: ONNX Runtime cannot load a unit.
        """
        ort = import_onnxruntime()
        count = threads if threads is not None else _process_threads or available_cores()
        if not 1 <= count <= MAX_THREADS:
            raise BadInput(f"{count} threads cannot be had; give 1 to {MAX_THREADS}")
        _prepare_environment(ort, count)
        self.info = EngineInfo(name="onnxruntime", version=ort.__version__, threads=count)
        units = bundle.manifest.units
        self.precisions: tuple[Precision, ...] = tuple(precisions or (u.precision for u in units))
        memory = lay_out(bundle)
        self.input: npt.NDArray[np.float32] = memory[units.index(bundle.manifest.segments[0])][0]
        self._names = [u.name for u in units]
        self._outputs = [out for _, out in memory]
        self._sessions = load(bundle, self.precisions, count)
        self._bindings = bind_all(bundle, self._sessions, memory)

    def run(self, unit: int) -> None:
        """Run a unit to its end; raises `EngineError` naming the unit when ONNX Runtime fails."""
        try:
            self._sessions[unit].run_with_iobinding(self._bindings[unit])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"unit {self._names[unit]} failed in ONNX Runtime: {first_line(error)}") from error

    def run_path(self, units: Sequence[int]) -> None:
        """Run units one after another; raises `PathError` when one fails."""
        for finished, unit in enumerate(units):
            try:
                self.run(unit)
            except EngineError as error:
                raise PathError(str(error), finished) from error

    def gpu_ms(self, unit: int) -> float | None:
        """None: there is no GPU in it."""
        return None

    def output(self, unit: int) -> npt.NDArray[Any]:
        """The array a unit writes to."""
        return self._outputs[unit]

    def close(self) -> None:
        """Drop the sessions."""
        self._bindings.clear()
        self._sessions.clear()


def load(bundle: Bundle, precisions: Sequence[Precision], threads: int, frames: int | None = 1) -> list[Any]:
    """A session for every unit, from two threads: reading and rewriting a graph keeps one core busy.

    Args:
        bundle: of the units.
        precisions: the one each runs in.
        threads: that the process runs ONNX Runtime with.
        frames: at once; None for any number.

    Raises:
        EngineError: the first unit that cannot be loaded.
    """
    ort = import_onnxruntime()
    shared = _prepare_environment(ort, threads)
    units = bundle.manifest.units
    found: list[Any] = [None] * len(units)
    waiting = iter(range(len(units)))

    def load() -> None:
        for place in waiting:
            unit, precision = units[place], precisions[place]
            if unit.fused is not None:
                found[place] = _Fused()
                continue
            try:
                found[place] = ort.InferenceSession(
                    str(bundle.file(unit, precision)),
                    _options(ort, threads, shared, frames),
                    providers=["CPUExecutionProvider"],
                    enable_fallback=0,  # would print on stdout and try the same again
                    disabled_optimizers=UNWANTED if precision in ("int8", "int8-fp16") else [],
                )
            except Exception as error:  # ONNX Runtime's exceptions share no base class
                found[place] = error

    other = beside(load)
    load()
    other()
    for unit, session in zip(units, found, strict=True):
        if isinstance(session, Exception):
            raise EngineError(f"unit {unit.name}: ONNX Runtime cannot load it: {first_line(session)}") from session
    _give_back()
    return found


def bind_all(
    bundle: Bundle, sessions: Sequence[Any], memory: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]
) -> list[Any]:
    """Every session's inputs and outputs on the memory laid out for them; the first axis is that of the frames.

    Raises:
        EngineError: a file takes or gives something else than the manifest says.
    """
    units = bundle.manifest.units
    written = {u.name: out for u, (_, out) in zip(units, memory, strict=True)}
    return [
        _bind(session, bundle, unit, source, target, written)
        for session, unit, (source, target) in zip(sessions, units, memory, strict=True)
    ]


def _bind(
    session: Any,
    bundle: Bundle,
    unit: Unit,
    source: npt.NDArray[Any],
    target: npt.NDArray[Any],
    written: dict[str, npt.NDArray[Any]],
) -> Any:
    """A session's inputs and outputs on the memory that the manifest gives them; None for a fused branch."""
    if unit.fused is not None:
        return None
    try:
        _check_signature(session, unit, bundle.manifest.given(unit))
        binding = session.io_binding()
        fused = [
            (binding.bind_output, b.output, written[b.name]) for b in bundle.manifest.units if b.fused == unit.name
        ]
        for bind, tensor, array in (
            (binding.bind_input, unit.input, source),
            (binding.bind_output, unit.output, target),
            *fused,
        ):
            bind(tensor.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    except EngineError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise EngineError(f"unit {unit.name}: ONNX Runtime cannot load it: {first_line(error)}") from error
    return binding


class _Fused:
    """In the place of a session: the segment before has written the branch's answer."""

    def run_with_iobinding(self, binding: None) -> None:
        """Nothing is left to do."""


def _give_back() -> None:
    """Return to the system what reading the graphs left free, a copy of the weights or so; glibc would keep it."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _prepare_environment(ort: Any, threads: int) -> bool:
    """Set up the pool and the arena that all sessions of the process share; false where ONNX Runtime is too old.

    Sessions with spinning pools of their own fight for the cores: with two threads, several times slower.
    """
    global _process_threads
    if _process_threads is not None and _process_threads != threads:
        raise BadInput(
            f"this process already runs ONNX Runtime with {_process_threads} threads; {threads} need a new process"
        )
    if not hasattr(ort, "set_global_thread_pool_sizes"):
        _process_threads = threads
        return False
    if _process_threads is None:
        ort.set_default_logger_severity(3)
        ort.set_global_thread_pool_sizes(threads, 1)
        memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(memory, None)
        _process_threads = threads
    return True


def _options(ort: Any, threads: int, shared: bool, frames: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if frames is not None:
        options.add_free_dimension_override_by_name(BATCH, frames)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.use_env_allocators", "1" if shared else "0")
    if shared:
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def lay_out(bundle: Bundle, frames: int = 1) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Input and output memory of every unit: two token buffers used in turn, an output of its own per branch.

    Args:
        bundle: of the units.
        frames: at once; of fewer, the memory is the first rows.
    """
    units = bundle.manifest.units
    segments = bundle.manifest.segments
    turn = [_aligned(frames * max(_size_bytes(s.output) for s in segments[i::2])) for i in range(min(2, len(segments)))]
    tokens = {s.layer: _view(turn[i % 2], s.output, frames) for i, s in enumerate(segments)}
    first = segments[0].input
    source = _view(_aligned(frames * _size_bytes(first)), first, frames)
    memory: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
    for segment in segments:
        memory[segment.name] = (source, tokens[segment.layer])
        source = tokens[segment.layer]
    for unit in units:
        if unit.kind == "branch":
            answer = _view(_aligned(frames * _size_bytes(unit.output)), unit.output, frames)
            memory[unit.name] = (tokens[unit.layer], answer)
    return [memory[u.name] for u in units]


def _aligned(size_bytes: int) -> npt.NDArray[np.uint8]:
    block = np.zeros(size_bytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size_bytes]


def _size_bytes(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize


def _view(block: npt.NDArray[np.uint8], tensor: Tensor, frames: int) -> npt.NDArray[Any]:
    one, *rest = tensor.shape
    return block[: frames * _size_bytes(tensor)].view(tensor.dtype).reshape(frames * one, *rest)


def _check_signature(session: Any, unit: Unit, outputs: Sequence[Tensor]) -> None:
    """The file must take and give what the manifest says, or the bound memory would be overrun."""
    for kind, found, tensors in (
        ("input", session.get_inputs(), (unit.input,)),
        ("output", session.get_outputs(), outputs),
    ):
        expected = [(t.name, list(t.shape), ORT_TYPES[t.dtype]) for t in tensors]
        shapes = [[1 if d == BATCH else d for d in f.shape] for f in found]
        types = [f.type.removeprefix("tensor(").removesuffix(")") for f in found]
        given = list(zip((f.name for f in found), shapes, types, strict=True))
        if given != expected:
            raise EngineError(f"unit {unit.name}: its {kind} is {given}, the manifest says {expected}; build again")
