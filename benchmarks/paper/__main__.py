"""`python -m benchmarks.paper`: tokens once, then every branch after every layer, a linear probe beside, and latency.

What is done is kept under --work and not done again: a run that was interrupted goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.paper.latency import latencies
from benchmarks.paper.probe import probe
from benchmarks.paper.tokens import TokenStore
from benchmarks.paper.train import Recipe, metric, objective, outputs_of, train_branch
from jetson.files import write_file
from toolkit import data as data_sets
from toolkit.models.backbone import Head
from toolkit.models.branches import make_branch
from toolkit.models.config import ARCHITECTURES, HEAD
from toolkit.models.count import parameters
from toolkit.training.compose import Plan, compose
from toolkit.training.seeds import derived
from toolkit.training.settings import TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("--data", required=True, help="as for offramp train, e.g. cifar10:PATH")
    parser.add_argument("--backbone", required=True, help="a pretrained checkpoint's folder")
    parser.add_argument("--image-size", type=int, default=56)
    parser.add_argument("--branches", nargs="+", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--layers", type=int, nargs="+", help="[default: all but the last]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--latency-seconds", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime, for latency")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for tokens and finished runs, outside the repository"
    )
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args()

    data = data_sets.load(options.data)
    settings = TrainSettings(
        data=options.data,
        out=options.work,
        exits=_exits(options.branches, options.layers or list(range(1, 12))),
        backbone=options.backbone,
        image_size=(options.image_size, options.image_size),
    )
    plan = compose(settings, data)
    print("\n".join(plan.notes), flush=True)
    store = TokenStore(options.work / "tokens", plan.model, data)
    store.compute(lambda done, of: print(f"tokens: {done} of {of} images", flush=True) if done % 1000 == 0 else None)
    runs = Runs(options.work / "runs", plan, store, Recipe(epochs=options.epochs))
    found = runs.all(options.seeds)
    layers = sorted({e.layer for e in plan.model.exits})
    probes = {str(layer): runs.kept(f"probe-{layer:02}", lambda layer=layer: probe(store, layer)) for layer in layers}
    cost = runs.kept(
        f"latency-{options.threads}", lambda: latencies(plan.model, options.threads, options.latency_seconds)
    )
    results = {
        "settings": {k: v for k, v in vars(options).items() if k not in ("work", "out", "data", "backbone")},
        "data": {split: len(data.part(split)) for split in ("train", "calibration", "test")},
        "backbone": plan.model.config.backbone.pretrained,
        "task": data.task,
        "machine": {"processor": platform.machine(), "torch": torch.__version__},
        "recipe": vars(runs.recipe),
        "runs": found,
        "probe": probes,
        "latency": cost,
    }
    write_file(options.out, json.dumps(results, indent=1) + "\n")
    print(f"-> {options.out}")


def _exits(branches: list[str], layers: list[int]) -> str:
    return ",".join(f"{layer}:{name}" for layer in layers for name in branches)


class Runs:
    """Trained branches: each run is a small file, made once."""

    def __init__(self, folder: Path, plan: Plan, store: TokenStore, recipe: Recipe) -> None:
        self.folder, self.plan, self.store, self.recipe = folder, plan, store, recipe

    def kept(self, name: str, make: Any) -> Any:
        """What `make` gives, from its file when it is there."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            write_file(file, json.dumps(make()) + "\n")
        return json.loads(file.read_text())

    def all(self, seeds: list[int]) -> list[dict[str, Any]]:
        """Every exit with every seed."""
        wanted = [(seed, index) for seed in seeds for index in range(len(self.plan.model.exits))]
        began, found = time.monotonic(), []
        for number, (seed, index) in enumerate(wanted, start=1):
            exit_ = self.plan.model.exits[index]
            name = f"{seed}-{self.recipe.epochs}-{exit_.layer:02}-{exit_.architecture}"
            fresh = not (self.folder / f"{name}.json").exists()
            run = self.kept(name, lambda seed=seed, index=index: self._run(seed, index))
            found.append(run)
            if fresh:
                left = (time.monotonic() - began) / number * (len(wanted) - number)
                print(
                    f"{number}/{len(wanted)} {exit_.name} seed {seed}: {run['test']:.4f} in {run['seconds']:.0f} s; "
                    f"{left / 60:.0f} min left",
                    flush=True,
                )
        return found

    def _run(self, seed: int, index: int) -> dict[str, Any]:
        model, data = self.plan.model, self.plan.data
        exit_, shape = model.exits[index], model.backbone.tokens
        place = (exit_.layer, index)
        torch.manual_seed(derived(seed, "weights", *place))
        if exit_.architecture == HEAD:
            branch: torch.nn.Module = Head(
                torch.nn.LayerNorm(shape.width), model.config.backbone.pooling, shape, data.outputs
            )
            branch.norm.load_state_dict(model.backbone.head.norm.state_dict())
        else:
            branch = make_branch(exit_, shape, data.outputs)
        train = self.store.at("train", exit_.layer)
        goal = objective(data.task, np.asarray(train.targets))
        seconds = train_branch(branch, train, goal, self.recipe, seed, place)
        parts = {s: self.store.at(s, exit_.layer) for s in ("calibration", "test")}
        scores = {s: metric(data.task, outputs_of(branch, t), t.targets) for s, t in parts.items()}
        facts = {"exit": exit_.name, "layer": exit_.layer, "architecture": exit_.architecture, "seed": seed}
        return {**facts, **scores, "seconds": round(seconds, 2), "parameters": parameters(branch)}


if __name__ == "__main__":
    main()
