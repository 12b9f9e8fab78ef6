"""Models to measure: random weights, since latency does not depend on them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec
import numpy as np
import torch

from jetson.bundle import MANIFEST, Bundle
from jetson.manifest import Exit, Manifest, Parity, Precision, Preprocessing, Provenance, Quality, Tensor, Unit
from jetson.samples import Samples
from toolkit.bundle_folder import write_samples
from toolkit.export.cut import UnitPlan, cut
from toolkit.export.units import write_units
from toolkit.models.backbone import sized_backbone
from toolkit.models.config import ExitConfig, ModelConfig
from toolkit.models.multi_exit import MultiExitModel


def random_model(size: str, image: int, patch: int, exits: tuple[ExitConfig, ...], depth: int = 12) -> MultiExitModel:
    """A ViT of a usual size with 10 classes and the given early exits."""
    torch.manual_seed(0)
    config = ModelConfig(
        task="classification",
        classes=tuple(map(str, range(10))),
        outputs=10,
        preprocessing=Preprocessing(height=image, width=image, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=sized_backbone(size, (image, image), patch, 3, depth),
        exits=exits,
    )
    return MultiExitModel(config).eval()


def cut_bundle(
    model: MultiExitModel, folder: Path, precisions: tuple[Precision, ...] = (), fused: Collection[str] = ()
) -> Bundle:
    """The model's units in `folder`, in fp32 and further precisions, with placeholder qualities.

    Args:
        model: to cut.
        folder: of the bundle.
        precisions: beside fp32.
        fused: exits whose branch is part of its segment.
    """
    plans, exits = cut(model, fused=fused)
    units, _ = write_units(plans, None, folder, precisions, lambda _title, _parts: lambda: None)
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
    manifest = _manifest(model, units, records)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle(folder, manifest)


def with_samples(bundle: Bundle, frames: int = 2000) -> Bundle:
    """The bundle with made-up answers for the planner to learn from: each exit is right as often as it says."""
    found = {}
    for seed, role in enumerate(("fit", "select")):
        rng = np.random.default_rng(seed)
        exits = len(bundle.manifest.exits)
        score = rng.normal(0.0, 1.2, (frames, 1)) + np.linspace(0.0, 2.0, exits) + rng.normal(0.0, 0.4, (frames, exits))
        right = rng.random((frames, exits)) < 1.0 / (1.0 + np.exp(-score))
        target = np.arange(frames) % bundle.manifest.outputs
        named = np.where(right, target[:, None], (target[:, None] + 1) % bundle.manifest.outputs)
        found[role] = Samples(target, named.astype(np.int32), score.astype(np.float32))
    manifest = msgspec.structs.replace(bundle.manifest, samples=write_samples(bundle.path, found))
    (bundle.path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(bundle.path)


def whole_bundle(model: MultiExitModel, folder: Path) -> Bundle:
    """The same backbone and head as one graph: what a user would run who does not cut."""
    whole = torch.nn.Sequential(model.backbone.stem, *model.backbone.layers, model.backbone.head).eval()
    p = model.config.preprocessing
    shape = (1, p.channels, p.height, p.width)
    source, target = Tensor(name="pixels", shape=shape), Tensor(name="output", shape=(1, model.config.outputs))
    plan = UnitPlan("whole", "segment", model.backbone.depth, whole, torch.randn(shape), source, target, "")
    (unit,), _ = write_units([plan], None, folder, (), lambda _title, _parts: lambda: None)
    return Bundle(folder, _manifest(model, [unit], ()))


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
