"""One PyTorch module to one ONNX file, with PyTorch's dynamo exporter."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from jetson.errors import WorkFailed, first_line, missing_extra

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""LayerNormalization and Gelu stay whole from here on."""
REVISION = 1
"""Raised whenever this code writes another graph for the same module, so that old units are not reused."""


def export_module(module: nn.Module, example: Tensor, name: str, source: str, target: str) -> bytes:
    """Export a module of one input and one output, static shapes.

    Args:
        module: in eval mode.
        example: an input of the shape to export for.
        name: of the unit, for messages and as the graph's name.
        source: name of the input.
        target: name of the output.

    Returns:
        The serialised ONNX model, weights inside.

    Raises:
        WorkFailed: PyTorch cannot export the module, or the result is not at the asked opset.
        MissingExtra: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it and says so at length
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "host") from None
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[source],
                output_names=[target],
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:  # the exporter wraps whatever the module's code raises
        raise WorkFailed(f"unit {name}: PyTorch cannot export it: {first_line(error)}") from error
    finally:
        logger.setLevel(level)
    found = {o.domain: o.version for o in model.opset_import}
    if found != {"": OPSET}:
        raise WorkFailed(f"unit {name}: exported with operator sets {found}, wanted opset {OPSET} alone")
    _strip(model)
    model.graph.name = name
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise WorkFailed(f"unit {name}: the exported graph is not valid: {first_line(error)}") from error
    return model.SerializeToString()


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold this machine's paths and are longer than the graph."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        if hasattr(item, "metadata_props"):
            del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]
