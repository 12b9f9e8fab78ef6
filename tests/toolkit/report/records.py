"""What calibration writes into a manifest, made by calibration's own functions from synthetic answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from calibration.conformal import interval
from calibration.joint import joint
from calibration.reliability import reliability
from jetson.manifest import Exit, Kept, Manifest, Precision, Quality, Quantisation, Unit, Variant

FRAMES = {"fit": 300, "select": 400, "test": 900}
INT8: tuple[Precision, ...] = ("int8", "int8-fp16")


def with_beliefs(manifest: Manifest) -> Manifest:
    """The manifest with what its exits believe of their answers: deeper exits are right more often."""
    learn = _classified if manifest.task == "classification" else _estimated
    rng = np.random.default_rng(5)
    exits, table = learn(manifest, rng)
    judged = [msgspec.structs.replace(e, quality=tuple(map(_on_select, e.quality))) for e in exits]
    return msgspec.structs.replace(manifest, exits=tuple(judged), joint=table)


def _on_select(quality: Quality) -> Quality:
    return msgspec.structs.replace(quality, split="select") if quality.split == "calibration" else quality


def _classified(manifest, rng):
    skill = np.linspace(0.6, 2.6, len(manifest.exits))
    records: list[list] = [[] for _ in skill]
    table = None
    for split in ("select", "test"):
        n = FRAMES[split]
        logits = skill - rng.normal(0, 1.8, (n, 1)) + rng.normal(0, 0.6, (n, len(skill)))
        held = 1 / (1 + np.exp(-logits))
        boasted = 1 / (1 + np.exp(-1.9 * np.abs(logits) - 0.4))
        right = rng.random(held.shape) < held
        for k, found in enumerate(records):
            found.append(reliability(boasted[:, k], held[:, k], right[:, k], split))
        table = table or joint(held, right.astype(np.float64), split)
    exits = [
        msgspec.structs.replace(e, reliability=tuple(found)) for e, found in zip(manifest.exits, records, strict=True)
    ]
    return exits, table


def _estimated(manifest, rng):
    n, width = FRAMES["fit"], manifest.outputs
    spread = np.linspace(9.0, 3.0, len(manifest.exits))
    targets = rng.gamma(2.0, 12.0, (n, width)).astype(np.float32)
    noise = rng.normal(0, 1, (n, len(spread), width)) * spread[:, None] * (0.3 + targets[:, None, :1] / 40)
    values = (targets[:, None] + noise).astype(np.float32)
    exits = [
        msgspec.structs.replace(e, interval=interval(values[:, k], targets, "fit"))
        for k, e in enumerate(manifest.exits)
    ]
    errors = np.abs(values.astype(np.float64) - targets[:, None]).mean(axis=2)
    return exits, joint(values[:, :, 0].astype(np.float64), errors, "select")


def with_int8(manifest: Manifest, kept: Sequence[str] = (), data: str = "the digits") -> Manifest:
    """The manifest with units in fp16 and in int8, but for the `kept` ones, and every exit's quality in int8."""
    last = manifest.exits[-1].name
    record = Quantisation(
        method="mse",
        frames=256,
        data=data,
        sha256="cd" * 32,
        max_drop=0.01 if manifest.task == "classification" else 0.05,
        kept=tuple(
            Kept(unit=u, precision="fp32", reason=f"exit {last} lost 2.5 points, and this unit did most of it")
            for u in kept
        ),
    )
    units = tuple(
        msgspec.structs.replace(u, variants=tuple(_variant(u, p) for p in _precisions(u.name in kept)))
        for u in manifest.units
    )
    exits = tuple(msgspec.structs.replace(e, variant_quality=_worse(e)) for e in manifest.exits)
    return msgspec.structs.replace(manifest, units=units, exits=exits, quantisation=record)


def _precisions(kept: bool) -> tuple[Precision, ...]:
    return ("fp16",) if kept else ("fp16", *INT8)


def content(unit: str, precision: str) -> bytes:
    """What stands for an ONNX file: shorter in fewer bits."""
    size = {"fp16": 600, "int8": 320, "int8-fp16": 300}.get(precision, 0)
    return f"onnx of {unit} in {precision} ".encode().ljust(size, b".")


def _variant(unit: Unit, precision: Precision) -> Variant:
    data = content(unit.name, precision)
    file = f"{unit.file}.{precision}"
    return Variant(precision=precision, file=file, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def _worse(exit_: Exit) -> dict[Precision, tuple[Quality, ...]]:
    """A little, and more with the rest in fp16 than in fp32."""
    sign = -1 if exit_.quality[0].metric == "accuracy" else 1
    return {
        p: tuple(msgspec.structs.replace(q, value=q.value + sign * 0.004 * (i + 1)) for q in exit_.quality)
        for i, p in enumerate(INT8)
    }


def powered(run: Path, name: str, power_w: float | None = None, scale: float = 1.0, **device: Any) -> None:
    """Write a second profile of the same bundle, of another device, so many times as slow."""
    profile = json.loads((run / "profile.json").read_text())
    profile["device"] |= device
    profile["power_w"] = power_w
    for exit_ in profile["exits"]:
        sketch = exit_["end_to_end_ms"]
        sketch["mean"] *= scale
        sketch["quantiles"] = [scale * q for q in sketch["quantiles"]]
    (run / name).write_text(json.dumps(profile))
