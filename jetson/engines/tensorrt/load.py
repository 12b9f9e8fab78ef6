"""From an engine's bytes to an engine that fits its unit, and to a context bound to the shared memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.layout import Layout
from jetson.engines.tensorrt.log import Log
from jetson.errors import EngineError, first_line
from jetson.manifest import Tensor, Unit

FAILURES = (RuntimeError, MemoryError)
"""What TensorRT's bindings make of a C++ exception; a TypeError would be a mistake of ours."""


def forget(log: Log) -> None:
    """Drop what was said, so that it is not taken for the reason of what comes."""
    log.errors.clear()
    log.warnings.clear()


def said(log: Log, error: BaseException | None = None) -> str:
    """What TensorRT gave as the reason, on one line: what it logged, and what it raised."""
    found = [str(log), "" if error is None else first_line(error)]
    return " | ".join(filter(None, found)) or "TensorRT gave no reason"


def make_runtime(api: Api, logger: Any, log: Log) -> Any:
    """TensorRT's own runtime, which turns bytes into engines.

    Args:
        api: TensorRT.
        logger: of `make_logger`; must live as long as the runtime.
        log: that it writes to.

    Raises:
        EngineError: TensorRT cannot start here.
    """
    forget(log)
    try:
        return api.trt.Runtime(logger)
    except (*FAILURES, TypeError) as error:  # the bindings say TypeError when a constructor gives nothing
        raise EngineError(f"TensorRT cannot start: {said(log, error)}; see: offramp doctor") from error


def load_engine(
    api: Api, runtime: Any, log: Log, plan: bytes, unit: Unit, mend: str, further: Sequence[Tensor] = ()
) -> Any:
    """Make an engine of its bytes.

    Args:
        api: TensorRT.
        runtime: of `make_runtime`.
        log: that `runtime` writes to.
        plan: the engine's bytes, as they were built.
        unit: whose engine it is.
        mend: the command that builds it again.
        further: what it gives beside the unit's output.

    Raises:
        EngineError: TensorRT refuses it, or it does not take and give what the manifest says.
    """
    forget(log)
    engine: Any = None
    reason: BaseException | None = None
    try:
        engine = runtime.deserialize_cuda_engine(plan)
    except FAILURES as error:
        reason = error
    if engine is None:
        why = said(log, reason)
        raise EngineError(f"unit {unit.name}: TensorRT cannot load its engine: {why}; build it again: {mend}")
    _check_signature(api.trt, engine, unit, mend, further)
    return engine


def make_context(
    api: Api, engine: Any, log: Log, unit: Unit, source: int, targets: Mapping[str, int], layout: Layout
) -> Any:
    """An execution context for one frame, every address set for good.

    Args:
        api: TensorRT.
        engine: of `load_engine`.
        log: that TensorRT writes to.
        unit: whose engine it is.
        source: address of its input.
        targets: addresses of its outputs, by name.
        layout: where the scratch block is.

    Raises:
        EngineError: TensorRT cannot make it, or refuses the shape or an address.
    """
    forget(log)
    context: Any = None
    reason: BaseException | None = None
    done = False
    try:
        context = _create_context(api, engine, unit)
        if context is not None:
            done = context.set_input_shape(unit.input.name, unit.input.shape)
            context.set_device_memory(layout.scratch, layout.scratch_bytes)
            done = done and context.set_tensor_address(unit.input.name, source)
            for name, target in targets.items():
                done = done and context.set_tensor_address(name, target)
    except FAILURES as error:
        reason = error
    if not done:
        raise EngineError(f"unit {unit.name}: TensorRT cannot prepare its engine to run: {said(log, reason)}")
    return context


def _create_context(api: Api, engine: Any, unit: Unit) -> Any:
    trt = api.trt
    managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if api.rtx and engine.get_tensor_shape(unit.input.name)[0] == -1:
        # It would compile kernels for the shape in the background, and a graph would keep those that stand in for them.
        settings = engine.create_runtime_config()
        settings.set_execution_context_allocation_strategy(managed)
        settings.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        return engine.create_execution_context(settings)
    return engine.create_execution_context(managed)


def _check_signature(trt: Any, engine: Any, unit: Unit, mend: str, further: Sequence[Tensor]) -> None:
    """The engine must take and give what the manifest says, or the shared memory would be overrun."""
    types = {"float32": trt.DataType.FLOAT, "float16": trt.DataType.HALF, "uint8": trt.DataType.UINT8}
    ends = (
        (trt.TensorIOMode.INPUT, "input", (unit.input,)),
        (trt.TensorIOMode.OUTPUT, "output", (unit.output, *further)),
    )
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    for mode, kind, tensors in ends:
        found = [
            (n, tuple(engine.get_tensor_shape(n)), engine.get_tensor_dtype(n))
            for n in names
            if engine.get_tensor_mode(n) == mode
        ]
        expected = [(t.name, t.shape, types[t.dtype]) for t in tensors]
        one_frame = [(n, _one_frame(engine, unit, shape), dtype) for n, shape, dtype in found]
        plain = all(engine.get_tensor_format(n) == trt.TensorFormat.LINEAR for n, _, _ in found)
        if sorted(one_frame, key=str) != sorted(expected, key=str) or not plain:
            given = ", ".join(f"{n} {shape} {dtype}" for n, shape, dtype in found)
            stated = ", ".join(f"{t.name} {t.shape} {t.dtype}" for t in tensors)
            raise EngineError(
                f"unit {unit.name}: its engine's {kind} is {given}, the manifest says {stated}; build again: {mend}"
            )


def _one_frame(engine: Any, unit: Unit, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape for a batch of 1, where the engine's first optimisation profile takes such a batch."""
    if shape[:1] != (-1,):
        return shape
    least = engine.get_tensor_profile_shape(unit.input.name, 0)[0]
    return (1, *shape[1:]) if least[0] <= 1 else shape
