"""Trained branches and what they reach: each run is a small file, made once, by one of several worker processes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.paper.tokens import TokenStore
from benchmarks.paper.train import Recipe, metric, objective, outputs_of, train_branch
from benchmarks.workers import spread_out
from jetson.files import write_file
from toolkit import data as data_sets
from toolkit.models.backbone import Head
from toolkit.models.branches import make_branch
from toolkit.models.config import ARCHITECTURES, HEAD, OPTIONS
from toolkit.models.count import parameters
from toolkit.training.compose import Plan, compose
from toolkit.training.seeds import derived
from toolkit.training.settings import TrainSettings

KINDS = (*ARCHITECTURES, HEAD)
Facts = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """What is trained on what; enough for a worker process to set itself up."""

    settings: TrainSettings
    recipe: Recipe
    folder: Path
    """For tokens and finished runs."""

    def plan(self) -> Plan:
        """The data and a model with every exit, its head included."""
        return compose(self.settings, data_sets.load(self.settings.data))


class Bench:
    """An experiment with its data, model and tokens at hand."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.plan = experiment, experiment.plan()
        self.store = TokenStore(experiment.folder / "tokens", self.plan.model, self.plan.data)
        self.exits = self.plan.model.exits
        keyed = repr((experiment.recipe, self.plan.data.part("train").sha256, self.plan.model.config.backbone))
        self.folder = experiment.folder / "runs" / hashlib.sha256(keyed.encode()).hexdigest()

    def kept(self, name: str, make: Callable[[], Facts]) -> Facts:
        """What `make` gives, from its file when it is there."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            write_file(file, json.dumps(make()) + "\n")
        found: Facts = json.loads(file.read_text())
        return found

    def name(self, seed: int, index: int) -> str:
        """The file of one run, and what it is called."""
        exit_ = self.exits[index]
        options = "".join(f"-{k}{v}" for k in OPTIONS.get(exit_.architecture, ()) if (v := getattr(exit_, k)))
        return f"{seed}-{exit_.layer:02}-{exit_.architecture}{options}"

    def run(self, seed: int, index: int) -> Facts:
        """Train one branch and judge it, unless that is done."""
        return self.kept(self.name(seed, index), lambda: self._run(seed, index))

    def done(self, seed: int, index: int) -> bool:
        """Whether that run is there."""
        return (self.folder / f"{self.name(seed, index)}.json").exists()

    def _run(self, seed: int, index: int) -> Facts:
        model, data = self.plan.model, self.plan.data
        exit_, shape = model.exits[index], model.backbone.tokens
        place = (exit_.layer, KINDS.index(exit_.architecture))
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
        seconds = train_branch(branch, train, goal, self.experiment.recipe.of(exit_.architecture), seed, place)
        parts = {s: self.store.at(s, exit_.layer) for s in ("calibration", "test")}
        scores = {s: metric(data.task, outputs_of(branch, t), t.targets) for s, t in parts.items()}
        facts = {"exit": exit_.name, "layer": exit_.layer, "architecture": exit_.architecture, "seed": seed}
        return {**facts, **scores, "seconds": round(seconds, 2), "parameters": parameters(branch)}


def train_all(bench: Bench, seeds: list[int], repeated: set[int], jobs: int) -> list[Facts]:
    """Every exit, on worker processes of one thread each, with a line for each and the time left.

    Args:
        bench: what to train.
        seeds: the first for every exit, the others for those after `repeated` layers.
        repeated: layers.
        jobs: processes.
    """
    wanted = [
        (seed, index)
        for seed in seeds
        for index, exit_ in enumerate(bench.exits)
        if seed == seeds[0] or exit_.layer in repeated
    ]
    todo = [pair for pair in wanted if not bench.done(*pair)]
    if len(todo) < len(wanted):
        print(f"{len(wanted) - len(todo)} of {len(wanted)} runs are done already", flush=True)
    began = time.monotonic()
    for number, run in enumerate(spread_out(_work, todo, jobs, _set_up, (bench.experiment,)), start=1):
        left = (time.monotonic() - began) / number * (len(todo) - number) / 60
        what = f"{run['exit']} seed {run['seed']}: {run['test']:.4f} in {run['seconds']:.0f} s"
        print(f"{number}/{len(todo)} {what}; {left:.0f} min left", flush=True)
    return [bench.run(*pair) for pair in wanted]


_bench: Bench | None = None
"""A worker process's own."""


def _set_up(experiment: Experiment) -> None:
    global _bench
    _bench = Bench(experiment)


def _work(pair: tuple[int, int]) -> Facts:
    assert _bench is not None
    return _bench.run(*pair)
