"""Models to measure: random weights, since latency does not depend on them."""

from __future__ import annotations

from pathlib import Path

import torch

from jetson.bundle import Bundle
from jetson.files import sha256_file
from jetson.manifest import Exit, Manifest, Parity, Preprocessing, Provenance, Quality, Tensor, Unit
from toolkit.export.cut import cut
from toolkit.export.onnx import export_module
from toolkit.models.backbone import sized_backbone
from toolkit.models.config import ExitConfig, ModelConfig
from toolkit.models.multi_exit import MultiExitModel


def random_model(size: str, image: int, patch: int, exits: tuple[ExitConfig, ...]) -> MultiExitModel:
    """A ViT of a usual size with 10 classes and the given early exits."""
    torch.manual_seed(0)
    config = ModelConfig(
        task="classification",
        classes=tuple(map(str, range(10))),
        outputs=10,
        preprocessing=Preprocessing(height=image, width=image, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=sized_backbone(size, (image, image), patch, 3),
        exits=exits,
    )
    return MultiExitModel(config).eval()


def cut_bundle(model: MultiExitModel, folder: Path) -> Bundle:
    """The model's units in `folder`, with placeholder qualities."""
    plans, exits = cut(model)
    units = [_unit(folder, p.name, p.kind, p.layer, p.module, p.example, p.input, p.output) for p in plans]
    quality = Quality(metric="accuracy", value=0.1, low=0, high=1, level=0.95, n=1, split="none")
    records = tuple(
        Exit(
            name=e.name,
            layer=e.layer,
            architecture=e.architecture,
            units=e.units,
            quality=(quality,),
            temperature=1.0,
            max_difference=0.0,
        )
        for e in exits
    )
    return Bundle(folder, _manifest(model, units, records))


def whole_bundle(model: MultiExitModel, folder: Path) -> Bundle:
    """The same backbone and head as one graph: what a user would run who does not cut."""
    whole = torch.nn.Sequential(model.backbone.stem, *model.backbone.layers, model.backbone.head).eval()
    p = model.config.preprocessing
    shape = (1, p.channels, p.height, p.width)
    source, target = Tensor(name="pixels", shape=shape), Tensor(name="output", shape=(1, model.config.outputs))
    unit = _unit(folder, "whole", "segment", model.backbone.depth, whole, torch.randn(shape), source, target)
    return Bundle(folder, _manifest(model, [unit], ()))


def _unit(folder, name, kind, layer, module, example, source, target) -> Unit:  # type: ignore[no-untyped-def]
    file = folder / "units" / f"{name}.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    exported = export_module(module, example, name, source.name, target.name)
    file.write_bytes(exported.content)
    return Unit(
        name=name,
        kind=kind,
        layer=layer,
        file=f"units/{name}.onnx",
        sha256=sha256_file(file),
        size_bytes=file.stat().st_size,
        input=source,
        output=target,
        parameters=0,
        flops=0,
        dynamic_batch=exported.dynamic_batch,
    )


def _manifest(model: MultiExitModel, units: list[Unit], exits: tuple[Exit, ...]) -> Manifest:
    return Manifest(
        task="classification",
        classes=model.config.classes,
        outputs=model.config.outputs,
        preprocessing=model.config.preprocessing,
        units=tuple(units),
        exits=exits,
        parity=Parity(frames=0, tolerance=0.0, split="none"),
        build="",
        provenance=Provenance(created="", command="", versions={}, checkpoint=""),
    )
