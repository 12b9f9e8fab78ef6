"""One PyTorch module to one ONNX file, with PyTorch's dynamo exporter."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from jetson.errors import WorkFailed, first_line, missing_extra
from jetson.manifest import BATCH

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""LayerNormalization and Gelu stay whole from here on."""
REVISION = 2
"""Raised whenever this code writes another graph for the same module, so that old units are not reused."""

_FRAMES = ({0: torch.export.Dim(BATCH, min=1, max=1 << 16)},)
"""The one input's first dimension is free."""
_tables: dict[int, Any] = {}
"""PyTorch's operators by opset, once they have been read."""


class Exported(NamedTuple):
    """One unit as ONNX."""

    content: bytes
    """The serialised model, weights inside."""
    dynamic_batch: bool
    """Whether its first dimension, called `batch`, may be any number."""


def export_module(
    module: nn.Module,
    example: Tensor,
    name: str,
    source: str,
    target: str,
    further: Sequence[str] = (),
) -> Exported:
    """Export a module of one input, for any number of frames if its code allows that, else for one.

    Args:
        module: in eval mode.
        example: an input of one frame.
        name: of the unit, for messages and as the graph's name.
        source: name of the input.
        target: name of the output, or of the first.
        further: names of the others.

    Raises:
        WorkFailed: PyTorch cannot export the module, or the result is not at the asked opset.
        MissingExtra: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it and says so at length
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "host") from None
    targets = [target, *further]
    model = _any_batch(module, example, source, targets)
    dynamic = model is not None
    if model is None:
        try:
            model = _export(module, example, source, targets)
        except Exception as error:  # the exporter wraps whatever the module's code raises
            raise WorkFailed(f"unit {name}: PyTorch cannot export it: {first_line(error)}") from error
    found = {o.domain: o.version for o in model.opset_import}
    if found != {"": OPSET}:
        raise WorkFailed(f"unit {name}: exported with operator sets {found}, wanted opset {OPSET} alone")
    _strip(model)
    model.graph.name = name
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise WorkFailed(f"unit {name}: the exported graph is not valid: {first_line(error)}") from error
    return Exported(model.SerializeToString(), dynamic)


def _any_batch(module: nn.Module, example: Tensor, source: str, targets: list[str]) -> onnx.ModelProto | None:
    """The model with a free first dimension; None when the module's code fixes it."""
    try:
        # Two frames, since PyTorch takes a dimension of one for a constant.
        model = _export(module, torch.cat([example, example]), source, targets, dynamic_shapes=_FRAMES)
    except Exception:  # whatever it is, the export of one frame meets it too or has no need to
        return None
    ends = [v.type.tensor_type.shape.dim for v in (model.graph.input[0], *model.graph.output)]
    return model if all(d and d[0].dim_param == BATCH for d in ends) else None


def _export(module: nn.Module, example: Tensor, source: str, targets: list[str], **options: Any) -> onnx.ModelProto:
    with _quiet(), _one_table(), torch.no_grad():
        made = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[source],
            output_names=targets,
            verbose=False,
            **options,
        )
    assert made is not None
    return made.model_proto


@contextlib.contextmanager
def _one_table() -> Iterator[None]:
    """PyTorch reads its table of operators anew for each module, which is half of what a small one takes."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        read = vars(ONNXRegistry)["from_torchlib"]
    except (ImportError, KeyError):  # another PyTorch does it elsewhere, and takes its time
        yield
        return

    def once(opset_version: int = OPSET) -> Any:
        if opset_version not in _tables:
            _tables[opset_version] = read.__get__(None, ONNXRegistry)(opset_version=opset_version)
        return _tables[opset_version]

    setattr(ONNXRegistry, "from_torchlib", staticmethod(once))  # noqa: B010 - a method, for the type checker
    try:
        yield
    finally:
        setattr(ONNXRegistry, "from_torchlib", read)  # noqa: B010


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks about its own workings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold this machine's paths and are longer than the graph."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        if hasattr(item, "metadata_props"):
            del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]
