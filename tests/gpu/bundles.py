"""Bundles to build engines of: in two precisions, and one that a real ViT was cut into."""

from __future__ import annotations

import hashlib

import msgspec

from jetson.bundle import MANIFEST, Bundle
from jetson.manifest import Exit, Manifest, Parity, Preprocessing, Provenance, Quality, Variant


def with_half(bundle):
    """The same bundle with every unit in half precision too."""
    from toolkit.export.half import to_half

    units = []
    for unit in bundle.manifest.units:
        content = to_half(bundle.file(unit).read_bytes(), unit.name)
        file = f"units/{unit.name}.fp16.onnx"
        (bundle.path / file).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        variant = Variant(precision="fp16", file=file, sha256=digest, size_bytes=len(content))
        units.append(msgspec.structs.replace(unit, variants=(variant,)))
    manifest = msgspec.structs.replace(bundle.manifest, units=tuple(units))
    (bundle.path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(bundle.path)


def vit_bundle(folder):
    """Eight layers of width 192 on 17 tokens, a branch of every kind on the way, any number of frames at once."""
    import torch

    from toolkit.export.cut import cut
    from toolkit.export.units import write_units
    from toolkit.models.backbone import sized_backbone
    from toolkit.models.config import ARCHITECTURES, ExitConfig, ModelConfig
    from toolkit.models.multi_exit import MultiExitModel

    torch.manual_seed(0)
    config = ModelConfig(
        task="classification",
        classes=tuple(map(str, range(10))),
        outputs=10,
        preprocessing=Preprocessing(height=32, width=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=sized_backbone("tiny", (32, 32), 8, 3, depth=8),
        exits=tuple(ExitConfig(layer=i, architecture=a) for i, a in enumerate(ARCHITECTURES, start=1)),
    )
    plans, exits = cut(MultiExitModel(config).eval())
    units, _ = write_units(plans, None, folder, ("fp16",), lambda what, count: lambda: None)
    quality = Quality(metric="accuracy", value=0.5, low=0.0, high=1.0, level=0.95, n=1, split="none")
    manifest = Manifest(
        task=config.task,
        classes=config.classes,
        outputs=config.outputs,
        preprocessing=config.preprocessing,
        units=tuple(units),
        exits=tuple(
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
        ),
        parity=Parity(frames=0, tolerance=0.0, split="none"),
        build="",
        provenance=Provenance(created="", command="", versions={}, checkpoint=""),
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Bundle.open(folder)
