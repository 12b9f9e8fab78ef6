"""Synthetic runs: real records, units of a few bytes, latencies and frames drawn from a seeded generator."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from jetson.manifest import (
    DataRecord,
    Exit,
    Manifest,
    Parity,
    Precision,
    Preprocessing,
    Provenance,
    Quality,
    Split,
    Tensor,
    Unit,
)
from jetson.profiling.profile import (
    Conditions,
    Device,
    EngineInfo,
    ExitLatency,
    LatencyProfile,
    Sketch,
    UnitLatency,
)
from tests.toolkit.report.records import content, with_beliefs, with_int8

TOKENS = Tensor(name="tokens", shape=(1, 65, 192))
BRANCH_MS = {"mlp": 0.05, "vit": 0.9, "mlp-mixer": 0.6, "resmlp": 0.5, "head": 0.06}


@dataclass
class Recipe:
    """What a synthetic run looks like."""

    layers: tuple[int, ...] = (4, 8, 12)
    exits: tuple[tuple[int, str], ...] = ((4, "mlp"), (8, "cnn-add"), (12, "head"))
    task: str = "classification"
    classes: tuple[str, ...] = ("aeroplane", "cat", "ship")
    test_split: bool = True
    frames: int | None = 200
    history: bool = True
    gpu: bool = False
    checkpoint: str = "model/checkpoint"
    data: bool = True
    beliefs: bool = False
    int8: bool = False
    kept: tuple[str, ...] = ()
    plans: Mapping[str, tuple[Precision, ...]] = field(default_factory=dict)
    outputs: int = 1


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the run of a recipe, given as keyword arguments, and returns its folder."""
    counter = itertools.count()
    return lambda **recipe: write_run(tmp_path / f"run{next(counter)}", Recipe(**recipe))


def write_run(run: Path, recipe: Recipe) -> Path:
    """Write a run folder."""
    manifest, contents = make_manifest(recipe)
    if recipe.beliefs:
        manifest = with_beliefs(manifest)
    if recipe.int8:
        manifest = with_int8(manifest, recipe.kept)
    manifest = msgspec.structs.replace(manifest, plans=dict(recipe.plans))
    (run / "bundle" / "units").mkdir(parents=True)
    for unit in manifest.units:
        (run / "bundle" / unit.file).write_bytes(contents[unit.name])
        for variant in unit.variants:
            (run / "bundle" / variant.file).write_bytes(content(unit.name, variant.precision))
    (run / "bundle" / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    profile = make_profile(manifest, recipe)
    profile.save(run / "profile.json")
    if recipe.frames is not None:
        lines = frame_lines(manifest, profile, recipe)
        (run / "frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if recipe.history:
        (run / "checkpoint").mkdir()
        (run / "checkpoint" / "training.json").write_text(json.dumps(history(manifest)))
    return run


def make_manifest(recipe: Recipe) -> tuple[Manifest, dict[str, bytes]]:
    image = Tensor(name="image", shape=(1, 3, 32, 32))
    contents: dict[str, bytes] = {}
    outputs = len(recipe.classes) if recipe.task == "classification" else recipe.outputs

    def unit(name: str, kind: Any, layer: int, source: Tensor, output: Tensor, size: int) -> Unit:
        contents[name] = f"onnx of {name}".encode()
        return Unit(
            name=name,
            kind=kind,
            layer=layer,
            file=f"units/{hashlib.sha256(name.encode()).hexdigest()[:8]}.onnx",
            sha256=hashlib.sha256(contents[name]).hexdigest(),
            size_bytes=len(contents[name]),
            input=source,
            output=output,
            parameters=size,
            flops=130 * size,
        )

    units = []
    for before, layer in itertools.pairwise((0, *recipe.layers)):
        source = image if not before else TOKENS
        units.append(unit(f"segment{layer:02d}", "segment", layer, source, TOKENS, 445_000 * (layer - before)))
    exits = []
    for i, (layer, architecture) in enumerate(recipe.exits):
        name = f"{layer}:{architecture}" if architecture != "head" else "head"
        branch = f"branch{layer:02d}-{architecture}"
        size = 37_000 if BRANCH_MS.get(architecture, 0.3) < 0.1 else 210_000 + 9_000 * i
        units.append(unit(branch, "branch", layer, TOKENS, Tensor(name="output", shape=(1, outputs)), size))
        before = tuple(f"segment{s:02d}" for s in recipe.layers if s <= layer)
        quality = tuple(
            make_quality(recipe, layer, i, split) for split in ("calibration", "test")[: 1 + recipe.test_split]
        )
        exits.append(
            Exit(
                name=name,
                layer=layer,
                architecture=architecture,
                units=(*before, branch),
                quality=quality,
                temperature=1.2 + 0.05 * i if recipe.task == "classification" else None,
                max_difference=2.4e-6 * (i + 1),
            )
        )
    record = DataRecord(
        name="CIFAR-10",
        splits={
            split: Split(n=n, sha256=hashlib.sha256(split.encode()).hexdigest())
            for split, n in (("train", 4000), ("calibration", 500), ("test", 1000))
        },
    )
    manifest = Manifest(
        task=recipe.task,  # type: ignore[arg-type]
        classes=recipe.classes if recipe.task == "classification" else None,
        outputs=outputs,
        preprocessing=Preprocessing(height=32, width=32, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3),
        units=tuple(units),
        exits=tuple(exits),
        parity=Parity(frames=32, tolerance=1e-4, split="calibration"),
        build="ab" * 32,
        provenance=Provenance(
            created="2025-03-04T05:06:07Z",
            command="offramp build model/checkpoint --out run/bundle",
            versions={"offramp": "0.1.0", "torch": "2.9.0", "onnxruntime": "1.23.0"},
            checkpoint=recipe.checkpoint,
            data=record if recipe.data else None,
        ),
    )
    return manifest, contents


def make_quality(recipe: Recipe, layer: int, place: int, split: str) -> Quality:
    depth = layer / recipe.layers[-1] + 0.012 * (place % 5)
    n = 500 if split == "calibration" else 1000
    wide = 1.96 * 0.4 / n**0.5
    if recipe.task == "classification":
        metric, value = "accuracy", min(0.97, 0.42 + 0.47 * depth**0.6)
    else:
        metric, value, wide = "mean_absolute_error", 14.2 - 8.5 * depth**0.7, 10 * wide
    return Quality(
        metric=metric,  # type: ignore[arg-type]
        value=value,
        low=value - wide,
        high=value + wide,
        level=0.95,
        n=n,
        split=split,
    )


def make_profile(manifest: Manifest, recipe: Recipe) -> LatencyProfile:
    random = np.random.default_rng(7)
    samples: dict[str, Any] = {}
    before = 0
    for unit in manifest.units:
        if unit.kind == "segment":
            middle, before = 0.93 * (unit.layer - before), unit.layer
        else:
            middle = BRANCH_MS.get(unit.name.partition("-")[2], 0.3)
        samples[unit.name] = middle * random.lognormal(0.0, 0.07, 600) * (1 + 0.6 * (random.random(600) > 0.97))
    units = {
        name: UnitLatency(
            host_ms=Sketch.of(times),
            end_to_end_ms=Sketch.of(times + 0.01),
            gpu_ms=Sketch.of(0.8 * times) if recipe.gpu else None,
        )
        for name, times in samples.items()
    }
    preprocess = 0.21 * random.lognormal(0.0, 0.05, 600)
    exits = tuple(
        ExitLatency(name=e.name, end_to_end_ms=Sketch.of(preprocess + sum(samples[u] for u in e.units)))
        for e in manifest.exits
    )
    return LatencyProfile(
        bundle=manifest.identity,
        device=Device(
            machine="x86_64", processor="Some Processor 3000", cores=2, gpu="Some GPU" if recipe.gpu else None
        ),
        engine=EngineInfo(name="onnxruntime", version="1.23.0", threads=1),
        created="2025-03-04T05:10:00Z",
        frames=600,
        frame=(480, 640),
        preprocess_ms=Sketch.of(preprocess),
        units=units,
        exits=exits,
        start=Conditions(temperature_c=41.5, cpu_mhz=2400.0, load=0.4),
        end=Conditions(temperature_c=None, cpu_mhz=2400.0, load=1.1),
    )


def frame_lines(manifest: Manifest, profile: LatencyProfile, recipe: Recipe) -> list[dict[str, Any]]:
    random = np.random.default_rng(11)
    exits = manifest.exits
    times = [e.end_to_end_ms for e in profile.exits]
    order = np.argsort([t.median for t in times])
    first, last = times[order[0]].median, times[order[-1]].median
    count = recipe.frames or 0
    lines: list[dict[str, Any]] = []
    for i in range(count):
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * i / max(1, count / 3))
        budget = float(first * 0.9 + (1.15 * last - 0.9 * first) * wave + random.normal(0, 0.04 * last))
        budget = max(0.3 * first, budget)
        slowdown = 1.0 + 0.25 * (i > 0.6 * count) + 0.02 * float(random.normal())
        fitting = [k for k in order if times[k].quantile(0.9) * slowdown <= budget]
        chosen = int(fitting[-1]) if fitting else int(order[0])
        elapsed = float(times[chosen].quantile(random.random())) * slowdown
        right = bool(random.random() < exits[chosen].quality[0].value)
        classified = recipe.task == "classification"
        lines.append(
            {
                "frame": i,
                "t_ms": 33.3 * i,
                "budget_ms": budget,
                "exit": chosen + 1,
                "exit_name": exits[chosen].name,
                "class": i % len(recipe.classes) if classified else None,
                "label": recipe.classes[i % len(recipe.classes)] if classified else None,
                "value": None if classified else [12.5 + 0.1 * i],
                "target": i % len(recipe.classes) if classified else [13.0],
                "correct": right if classified else None,
                "confidence": 0.83 if classified else None,
                "elapsed_ms": elapsed,
                "met_deadline": elapsed <= budget,
                "feasible": budget >= float(times[order[0]].quantile(0.9)),
                "slowdown": slowdown,
                "units": [
                    {"unit": u, "start_ms": 0.0, "host_ms": 1.0, "end_to_end_ms": 1.0} for u in exits[chosen].units
                ],
            }
        )
    feasible = [x for x in lines if x["feasible"]]
    lines.append(
        {
            "summary": {
                "frames": count,
                "acc_at_d": 0.641 if recipe.task == "classification" else None,
                "miss_rate": sum(not x["met_deadline"] for x in feasible) / max(1, len(feasible)),
                "infeasible_share": 1 - len(feasible) / max(1, count),
                "late": sum(not x["met_deadline"] for x in lines),
                "mean_compute_ms": float(np.mean([x["elapsed_ms"] for x in lines])) if lines else None,
                "exits": {},
                "policy": "induction",
                "decision_us": 4.31,
            }
        }
    )
    return lines


def history(manifest: Manifest) -> dict[str, Any]:
    epochs = []
    for phase, names in (
        ("branches", [e.name for e in manifest.exits[:-1]]),
        ("together", [e.name for e in manifest.exits]),
    ):
        for epoch in range(6):
            exits = {n: {"loss": 2.2 / (1 + 0.3 * epoch) - 0.04 * i} for i, n in enumerate(names)}
            total = sum(e["loss"] for e in exits.values()) / max(1, len(exits))
            epochs.append({"phase": phase, "epoch": epoch + 1, "loss": total, "seconds": 4.2, "exits": exits})
    scores = [{"exit": e.name, "metric": "accuracy", "value": 0.8, "n": 1000} for e in manifest.exits]
    return {"strategy": "classifier-wise, then end-to-end", "seed": 3, "history": epochs, "test": scores, "later": 1}
