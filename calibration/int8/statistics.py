"""What passes through a unit's weighted inputs on real frames, counted batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from calibration.int8.graph import weighted_nodes
from calibration.int8.histogram import Histogram
from calibration.int8.session import Floats, Session
from jetson.errors import DataError, missing_extra


def collect(
    content: bytes, name: str, batches: Iterable[Floats], progress: Callable[[], None] | None = None
) -> dict[str, Histogram]:
    """Run a unit in float32 and count the absolute values of every input of a weight.

    Two passes over the batches, the first for the largest values; no more than one batch is in memory at a time.

    Args:
        content: the unit, a serialised ONNX model of one input.
        name: of the unit, for messages.
        batches: float32, (n, *the input's shape without its batch) each; iterated twice, with the same frames.
        progress: called after each batch of each pass.

    Returns:
        By tensor, as `weighted_inputs` names them, and in that order; empty when the unit has no such inputs.

    Raises:
        DataError: no frames, or NaN or infinite values in what goes into the unit or one of its weights.
        EngineError: ONNX Runtime cannot load or run the unit.
        MissingExtra: onnx or onnxruntime is not installed.
    """
    if iter(batches) is batches:
        raise TypeError("batches are iterated twice; give a list, or an object that makes a new iterator each time")
    exposed, readers = _expose(content)
    if not readers:
        return {}
    session = Session(exposed, name)
    peaks = dict.fromkeys(readers, 0.0)
    frames = 0
    for values in _values(session, batches, readers, progress):
        for tensor, value in values.items():
            peak = float(np.abs(value).max(initial=0.0))
            if not np.isfinite(peak):
                raise DataError(_not_finite(name, tensor, readers[tensor]))
            peaks[tensor] = max(peaks[tensor], peak)
        frames += len(next(iter(values.values())))
    if not frames:
        raise DataError(f"unit {name}: there are no frames to take the ranges of int8 from; give at least one")
    found: dict[str, Histogram] = {}
    for values in _values(session, batches, readers, progress):
        for tensor, value in values.items():
            counted = Histogram.of(value, peaks[tensor])
            found[tensor] = found[tensor] + counted if tensor in found else counted
    return found


def run(content: bytes, batches: Iterable[Floats]) -> list[Floats]:
    """Run a unit, for what it gives to the next one.

    Args:
        content: a serialised ONNX model of one input and one output, in any precision.
        batches: float32, (n, *the input's shape without its batch) each.

    Returns:
        The output of each batch, (n, *the output's shape without its batch).

    Raises:
        EngineError: ONNX Runtime cannot load or run the unit.
        MissingExtra: onnxruntime is not installed.
    """
    session = Session(content)
    return [session.run(batch)[0] for batch in batches]


def _expose(content: bytes) -> tuple[bytes, dict[str, str]]:
    """The model with the weighted inputs as outputs beside its own; by tensor, the first node that reads it."""
    try:
        import onnx
    except ImportError:
        raise missing_extra("onnx", "host") from None
    model = onnx.load_model_from_string(content)
    readers: dict[str, str] = {}
    for weighted in weighted_nodes(model.graph):
        readers.setdefault(weighted.node.input[0], weighted.node.name or weighted.node.op_type)
    known = {v.name for v in (*model.graph.input, *model.graph.output)}
    for tensor in readers:
        if tensor not in known:
            model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString(), readers


def _values(
    session: Session, batches: Iterable[Floats], readers: dict[str, str], progress: Callable[[], None] | None
) -> Iterator[dict[str, Floats]]:
    """By tensor, its values on each batch. What goes into the unit itself need not come out of it."""
    wanted = [t for t in readers if t != session.source]
    for batch in batches:
        if not np.isfinite(batch).all():
            raise DataError(
                f"unit {session.name}: what goes into it holds NaN or infinite values; look at the calibration images "
                "and at the units before it"
            )
        given = dict(zip(wanted, session.run(batch, wanted), strict=True)) if wanted else {}
        yield {t: batch if t == session.source else given[t] for t in readers}
        if progress is not None:
            progress()


def _not_finite(name: str, tensor: str, node: str) -> str:
    return (
        f"unit {name}: {tensor}, the input of {node}, holds NaN or infinite values on the calibration frames, so it "
        "has no range; train the model again with a lower learning rate, or build it without int8"
    )
