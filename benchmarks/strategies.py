"""`python -m benchmarks.strategies`: the three training strategies and distillation on one small ViT, side by side.

Every run is `offramp train` with another --strategy or --distill and the same --epochs for each of its phases, so the
strategies with several phases train longer: the seconds stand beside. Runs are kept under --work and, when interrupted,
go on with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.command import one_line
from benchmarks.workers import spread_out
from jetson.files import write_file
from toolkit.models.checkpoint import TRAINING
from toolkit.models.record import Strategy, TrainingRecord
from toolkit.training.run import train
from toolkit.training.settings import TrainSettings

CASES: dict[str, tuple[Strategy, float]] = {
    "end-to-end": ("end-to-end", 0.0),
    "end-to-end, distilled": ("end-to-end", 0.5),
    "classifier-wise": ("classifier-wise", 0.0),
    "classifier-wise, distilled": ("classifier-wise", 0.5),
    "layer-wise": ("layer-wise", 0.0),
}
"""Strategy and share of distillation. Layer-wise has no final exit to learn from while its early exits train."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strategies", description=__doc__)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--limit", type=int, default=6000, help="train on so many images")
    parser.add_argument("--exits", default="2:cnn-add,4:cnn-add")
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--patch-size", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=6, help="of every phase")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes of one thread each")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints, outside the repository")
    parser.add_argument("--out", type=Path, required=True, help="file of results to write")
    options = parser.parse_args()
    todo = [(case, seed, options) for seed in options.seeds for case in CASES]
    began, runs = time.monotonic(), []
    for number, run in enumerate(spread_out(_run, todo, options.jobs), start=1):
        runs.append(run)
        left = (time.monotonic() - began) / number * (len(todo) - number) / 60
        scores = ", ".join(f"{name} {value:.4f}" for name, value in run["test"].items())
        print(f"{number}/{len(todo)} {run['case']} seed {run['seed']}: {scores}; {left:.0f} min left", flush=True)
    settings = {k: v for k, v in vars(options).items() if k not in ("work", "out", "jobs")}
    machine = {"processor": platform.machine(), "torch": torch.__version__}
    write_file(options.out, json.dumps({"settings": settings, "machine": machine, "runs": runs}, indent=1) + "\n")
    print(f"-> {options.out}")


def _run(task: tuple[str, int, argparse.Namespace]) -> dict[str, Any]:
    case, seed, options = task
    strategy, distillation = CASES[case]
    folder = options.work / f"{seed}-{case.replace(', ', '-')}"
    settings = TrainSettings(
        data=options.data,
        out=folder,
        exits=options.exits,
        strategy=strategy,
        distillation=distillation,
        depth=options.depth,
        patch_size=options.patch_size,
        epochs=options.epochs,
        limit=options.limit,
        seed=seed,
    )
    record = msgspec.json.decode((train(settings) / TRAINING).read_bytes(), type=TrainingRecord)
    return {
        "case": case,
        "seed": seed,
        "test": {score.exit: score.value for score in record.test},
        "n": record.test[0].n,
        "seconds": round(record.seconds, 1),
        "epochs": {name: sum(e.phase == name for e in record.history) for name in {e.phase for e in record.history}},
    }


if __name__ == "__main__":
    one_line(main)
