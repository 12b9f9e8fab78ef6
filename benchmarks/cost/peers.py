"""The same multi-exit ViT and the same exit decisions in what a user would run instead of Offramp.

Each contestant is a process of its own that stays; they are asked in turn, every round in an order shuffled anew. At
an exit all branches before it have answered too, except where a contestant is said to go straight there. earlyon needs
PyTorch beside it and no torchvision: pip install --target FOLDER --no-deps earlyon fvcore iopath yacs tabulate
termcolor portalocker, then PYTHONPATH=FOLDER python -m benchmarks.cost.peers.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.cold import ROOT, folder, prepare
from benchmarks.cost.exported import model_option
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, tell, versions
from benchmarks.paper.tables import rows_of
from jetson.errors import WorkFailed

NAMES = {
    "offramp": "`Runtime.infer`, every branch on the way",
    "straight": "`Runtime.infer`, straight to the exit",
    "chain": "the units in ONNX Runtime, bare",
    "every": "one ONNX graph with every exit",
    "whole": "one ONNX graph without exits",
    "hooks": "PyTorch, forward hooks",
    "compiled": "torch.compile, stage by stage",
    "earlyon": "earlyon, wrapper",
    "staged": "earlyon, stages",
}
OURS = "offramp"
PATIENCE_S = 900


def missing(name: str) -> str | None:
    """Why a contestant cannot be had here; None when it can."""
    if name in ("earlyon", "staged") and any(importlib.util.find_spec(p) is None for p in ("earlyon", "fvcore")):
        return "earlyon and fvcore are not installed (python -m benchmarks.cost.peers --help says how)"
    if name == "compiled" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))):
        return "torch.compile needs a C++ compiler, and there is none"
    return None


class Contestant:
    """A process that runs what it is told."""

    def __init__(self, name: str, work: Path, threads: int, exits: list[int]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        words = [sys.executable, "-m", "benchmarks.cost.peers_worker", name, str(work), str(threads), json.dumps(exits)]
        self.name = name
        self.errors = (work / f"{name}.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.start = self._read()
        self.ms: dict[int, list[list[float]]] = {e: [] for e in exits}
        self.outputs: dict[int, list[float]] = {}

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines() or ["it said nothing"]
            raise WorkFailed(f"{NAMES[self.name]} failed: {said[-1]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, exit_: int, runs: int, counts: bool) -> None:
        """Run to an exit so often."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"exit": exit_, "runs": runs}) + "\n")
        self.process.stdin.flush()
        found = self._read()
        self.outputs[exit_] = found["output"]
        if counts:
            self.ms[exit_].append(found["ms"])

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.errors.close()


def run(work: Path, names: list[str], exits: int, threads: int, rounds: int, runs: int) -> dict[str, Any]:
    """Let contestants run in turn.

    Args:
        work: folder of the model.
        names: of the contestants.
        exits: of the model.
        threads: of each.
        rounds: in an order shuffled anew.
        runs: of a contestant in a row, to one exit.
    """
    asked = sorted({round(exits * share) - 1 for share in (0.25, 0.5, 0.75, 1.0)} - {-1})
    rng = np.random.default_rng(0)
    with contextlib.ExitStack() as stack:
        there = []
        for name in names:
            tell(f"{exits} exits, {threads} threads: starting {NAMES[name]}")
            there.append(Contestant(name, work, threads, asked))
            stack.callback(there[-1].close)
        for index in range(-1, rounds):
            for exit_ in asked:
                for which in rng.permutation(len(there)):
                    there[which].run(exit_, runs, counts=index >= 0)
            if (index + 1) % 5 == 0:
                tell(f"round {index + 1} of {rounds}")
    ours = next(c for c in there if c.name == OURS)
    return {
        "exits": exits,
        "threads": threads,
        "asked": [e + 1 for e in asked],
        "contestants": {c.name: _figures(c, ours) for c in there},
    }


def _figures(contestant: Contestant, ours: Contestant) -> dict[str, Any]:
    exits = []
    for exit_, blocks in contestant.ms.items():
        took = np.concatenate(blocks)
        ratio = np.median(blocks, axis=1) / np.median(ours.ms[exit_], axis=1)
        middle, low, high = np.quantile(ratio, (0.5, 0.1, 0.9)).tolist()
        strays = np.abs(np.subtract(contestant.outputs[exit_], ours.outputs[exit_])).max()
        exits.append(
            {
                "exit": exit_ + 1,
                "p50_ms": float(np.median(took)),
                "p99_ms": float(np.quantile(took, 0.99)),
                "n": len(took),
                "over_ours": [middle, low, high],
                "difference": None if contestant.name == "whole" and exit_ + 1 != max(ours.ms) + 1 else float(strays),
            }
        )
    return {"start_s": contestant.start["seconds"], "bytes": contestant.start["bytes"]["warm"], "exits": exits}


def table(recorded: Recorded) -> str:
    """A table for each number of exits and threads."""
    figures, settings = recorded.figures, recorded.settings
    worst = max(e["difference"] or 0.0 for c in figures["cases"] for f in c["contestants"].values() for e in f["exits"])
    caption = (
        f"ViT-{settings['size']}, {settings['image']} px, MLP branches; median and 99 % quantile of one frame's "
        f"milliseconds by exit, and over `Runtime.infer`'s (median of {settings['rounds']} paired ratios). Outputs "
        f"differ by {worst:.1g} at most. Start: from a fresh process to its first answer, compiling included where "
        f"there is any. {setting(recorded)}."
    )
    parts = [caption]
    for case in figures["cases"]:
        header = ["", *(f"exit {e}" for e in case["asked"]), "× ours, last exit", "start, s", "resident, MB"]
        rows = []
        for name, found in case["contestants"].items():
            cells = [f"{e['p50_ms']:.1f} / {e['p99_ms']:.1f}" for e in found["exits"]]
            middle, low, high = found["exits"][-1]["over_ours"]
            held = found["bytes"].get("resident")
            start = f"{found['start_s']['answered']:.2f}"
            last = [f"{middle:.2f} ({low:.2f} to {high:.2f})", start, "" if held is None else f"{held / 1e6:.0f}"]
            rows.append([NAMES[name], *cells, *last])
        threads = "one thread" if case["threads"] == 1 else f"{case['threads']} threads"
        parts.append(f"{case['exits']} exits, {threads}:\n\n{rows_of(header, rows)}")
    for name, reason in figures["not_measured"].items():
        parts.append(f"Not measured: {NAMES[name]}, since {reason}.")
    return "\n\n".join(parts)


def main(words: list[str] | None = None) -> None:
    parser = parser_for("peers", __doc__)
    model_option(parser)
    parser.add_argument(
        "--exits", type=int, nargs="+", default=[4, 12], help="the last layer's included; divisors of 12"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="of a contestant in a row, in every round")
    parser.add_argument("--without", nargs="*", default=[], choices=sorted(set(NAMES) - {OURS}), help="leave out")
    parser.add_argument("--work", type=Path, help="folder to keep the models in for another run")
    options = parser.parse_args(words)
    told = dict.fromkeys(options.without, "it was left out")
    told |= {name: reason for name in NAMES if name not in told and (reason := missing(name)) is not None}
    for name, reason in told.items():
        tell(f"{NAMES[name]}: not measured, {reason}")
    cases = []
    with folder(options.work) as work:
        for exits in options.exits:
            place = work / str(exits)
            tell(f"{exits} exits: exporting")
            for threads in options.threads:
                in_process(prepare, place, options.size, options.image, options.patch, exits, threads)
                names = [name for name in NAMES if name not in told]
                cases.append(run(place, names, exits, threads, options.rounds, options.runs))
    kept = argparse.Namespace(**{k: v for k, v in vars(options).items() if k != "work"})
    record("peers", kept, {"cases": cases, "not_measured": told, "versions": versions("torch", "earlyon")})


if __name__ == "__main__":
    one_line(main, "no figures were written")
