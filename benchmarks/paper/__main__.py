"""`python -m benchmarks.paper`: tokens once, then every branch after every layer, a linear probe beside, and latency.

What is done is kept under --work and not done again: a run that was interrupted goes on with the same command.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
from pathlib import Path

import torch

from benchmarks.command import one_line
from benchmarks.paper.latency import latencies
from benchmarks.paper.probe import probe
from benchmarks.paper.runs import Bench, Experiment, train_all
from benchmarks.paper.train import Recipe
from jetson.files import write_file
from toolkit.models.config import ARCHITECTURES
from toolkit.training.settings import TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("--data", required=True, help="as for offramp train, e.g. cifar10:PATH")
    parser.add_argument("--backbone", required=True, help="a pretrained checkpoint's folder")
    parser.add_argument("--image-size", type=int, default=56)
    parser.add_argument("--limit", type=int, help="train on so many images")
    parser.add_argument("--branches", nargs="+", default=list(ARCHITECTURES), help="BRANCH[:OPTION=NUMBER...]")
    parser.add_argument("--layers", type=int, nargs="+", default=list(range(1, 12)))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--repeat-layers", type=int, nargs="+", help="seeds but the first only here [default: all]")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes of one thread each")
    parser.add_argument("--latency-seconds", type=float, default=120.0, help="0: latency is not measured")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime, for latency")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for tokens and finished runs, outside the repository"
    )
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args()

    settings = TrainSettings(
        data=options.data,
        out=options.work,
        exits=",".join(f"{layer}:{name}" for layer in options.layers for name in options.branches),
        backbone=options.backbone,
        image_size=(options.image_size, options.image_size),
        limit=options.limit,
    )
    bench = Bench(Experiment(settings, Recipe(epochs=options.epochs), options.work))
    model, data = bench.plan.model, bench.plan.data
    print("\n".join(bench.plan.notes), flush=True)
    bench.store.compute(lambda part, done, of: print(f"tokens of {part}: {done} of {of} images", flush=True))
    layers = sorted({e.layer for e in model.exits})
    found = train_all(bench, options.seeds, {*(options.repeat_layers or layers), layers[-1]}, options.jobs)
    probes = {}
    for layer in layers:
        probes[str(layer)] = bench.kept(f"probe-{layer:02}", lambda layer=layer: probe(bench.store, layer))
        print(f"linear probe after layer {layer}: {probes[str(layer)]['test']:.4f}", flush=True)
    cost = None
    if options.latency_seconds:
        key = hashlib.sha256(f"{settings.exits} {data.outputs}".encode()).hexdigest()[:16]
        units = options.work / f"units-{key}"
        print(
            f"latency: exporting every unit into {units}, then {options.latency_seconds:g} s of measuring", flush=True
        )
        cost = bench.kept(
            f"latency-{options.threads}-{key}",
            lambda: latencies(model, options.threads, options.latency_seconds, units),
        )
    results = {
        "settings": {k: v for k, v in vars(options).items() if k not in ("work", "out", "data", "backbone", "jobs")},
        "data": {"name": data.name} | {split: len(data.part(split)) for split in ("train", "calibration", "test")},
        "backbone": model.config.backbone.pretrained,
        "task": data.task,
        "mean_error": _mean_error(bench),
        "machine": {"processor": platform.machine(), "torch": torch.__version__},
        "recipe": dataclasses.asdict(bench.experiment.recipe),
        "runs": found,
        "probe": probes,
        "latency": cost,
    }
    write_file(options.out, json.dumps(results, indent=1) + "\n")
    print(f"-> {options.out}")


def _mean_error(bench: Bench) -> float | None:
    """Of who always answers the mean of the training targets; regression only."""
    train, test = (bench.plan.data.part(s).targets for s in ("train", "test"))
    if bench.plan.data.task == "classification" or train is None or test is None:
        return None
    return float(abs(test - train.mean(axis=0)).mean())


if __name__ == "__main__":
    one_line(main)
