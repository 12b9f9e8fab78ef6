"""Cold start and memory: import, load and first answer of a fresh process, and what it holds then.

Ours against bare ONNX Runtime that loads the same files, against the uncut model in one session, and against PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost.exported import model_option
from benchmarks.cost.fresh import PHASES, profile_of
from benchmarks.cost.record import Recorded, in_process, parser_for, record, setting, spread, tell
from benchmarks.paper.tables import rows_of
from jetson.errors import WorkFailed

OURS, SAME, WHOLE, TORCH = "Offramp", "bare ONNX Runtime, the same files", "the uncut model, one session", "PyTorch"
UNWARMED, FIRST, STEPS = "without warm-up", "without warm-up, the first time with this profile", "steps"
ROOT = Path(__file__).resolve().parents[2]


def prepare(work: Path, *shape: Any) -> None:
    """Write the models, in a process that may import PyTorch."""
    from benchmarks.cost.one_model import prepare

    prepare(work, *shape)


def contestants(work: Path, threads: int) -> dict[str, list[str]]:
    """What each process is told."""
    count, units = str(threads), work / "cut" / "units"
    segments = sorted(units.glob("segment-*.onnx"), key=lambda f: int(f.stem.partition("-")[2]))
    cut = [*segments, units / "head.onnx", *sorted(units.glob("branch-*.onnx"))]
    ours = ["jetson", str(work / "cut"), str(profile_of(work, threads)), count]
    return {
        OURS: ours,
        UNWARMED: [*ours, "0"],
        FIRST: [*ours, "0"],
        STEPS: ["steps", *ours[1:]],
        SAME: ["onnxruntime", count, *map(str, cut)],
        WHOLE: ["onnxruntime", count, str(next((work / "whole" / "units").glob("*.onnx")))],
        TORCH: ["torch", count, str(work / "model.pt")],
    }


def start(words: list[str], cache: Path, first: bool = False) -> dict[str, Any]:
    """Run a fresh process to its first answer, with compiled Python files at hand as an installed package has them.

    Args:
        words: what it is told.
        cache: folder for those files, and for what a load keeps for the next.
        first: whether nothing has been kept yet.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(cache), "OMP_NUM_THREADS": "1"}
    cache.mkdir(exist_ok=True)
    environment["OFFRAMP_CACHE"] = tempfile.mkdtemp(dir=cache) if first else str(cache / "offramp")
    command = [sys.executable, "-m", "benchmarks.cost.fresh", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkFailed(f"{words[0]} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(work: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Start each in turn, every round in an order shuffled anew; a first round is not counted."""
    lines = contestants(work, threads)
    rng = np.random.default_rng(0)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in lines}
    for index in range(-1, rounds):
        for name in rng.permutation(list(lines)):
            done = start(lines[name], work / "cache", name == FIRST)
            if index >= 0:
                found[name].append(done)
        tell(f"round {index + 1} of {rounds}")
    ratios = {phase: _ratio(found[UNWARMED], found[SAME], phase) for phase in PHASES}
    ratios["loaded the first time"] = _ratio(found[FIRST], found[SAME], "loaded")
    return {
        "processes": {name: _phases(runs) for name, runs in found.items() if name != STEPS},
        "ratios": ratios | {"answered after warm-up": _ratio(found[OURS], found[SAME], PHASES[-1])},
        "memory": _memory_ratio(found[OURS], found[WHOLE]),
        "steps_ms": _steps(found[STEPS]),
        "files_bytes": sum(Path(f).stat().st_size for f in lines[SAME][2:]),
    }


def _phases(runs: list[dict[str, Any]]) -> dict[str, Any]:
    ms = {p: spread([r["seconds"][p] * 1e3 for r in runs]) for p in PHASES}
    last = [r["bytes"][PHASES[-1]] for r in runs]
    return {"ms": ms, "bytes": {key: float(np.median([m[key] for m in last])) for key in last[0]}}


def _steps(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Medians of what each step takes, milliseconds."""
    names = list(runs[0]["seconds"])
    took = np.diff([[r["seconds"][n] for n in names] for r in runs], axis=1, prepend=0.0)
    return dict(zip(names, (np.median(took, axis=0) * 1e3).tolist(), strict=True))


def _ratio(ours: list[dict[str, Any]], base: list[dict[str, Any]], phase: str) -> list[float]:
    return spread([a["seconds"][phase] / b["seconds"][phase] for a, b in zip(ours, base, strict=True)])


def _memory_ratio(ours: list[dict[str, Any]], base: list[dict[str, Any]]) -> list[float] | None:
    """None where the system does not tell."""
    pairs = [(a["bytes"][PHASES[-1]], b["bytes"][PHASES[-1]]) for a, b in zip(ours, base, strict=True)]
    return spread([a["resident"] / b["resident"] for a, b in pairs]) if pairs[0][0] else None


def table(recorded: Recorded) -> str:
    """The phases, the ratios, and what our own time goes to."""
    figures, settings = recorded.figures, recorded.settings
    threads = "one thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    caption = (
        f"ViT-{settings['size']}, {settings['image']} px, {settings['exits']} exits, "
        f"{figures['files_bytes'] / 1e6:.0f} MB of units, {threads}, {setting(recorded)}; {settings['rounds']} fresh "
        "processes each, in turn: median "
        "milliseconds from the first line of Python to the end of each phase (10 % and 90 % quantile), and the memory "
        "after the first answer."
    )
    header = ["", *PHASES, "resident, MB", "own, MB", "of files, MB", "peak, MB"]
    rows = []
    for name, found in figures["processes"].items():
        spans = [_spread(found["ms"][p], "{:.0f}") for p in PHASES]
        held = [
            f"{found['bytes'][k] / 1e6:.0f}" for k in ("resident", "own", "of_files", "peak") if k in found["bytes"]
        ]
        rows.append([f"{OURS}, {name}" if name in (UNWARMED, FIRST) else name, *spans, *(held or [""] * 4)])
    lines = [f"{what}: {_spread(ratio, '{:.2f}')}" for what, ratio in figures["ratios"].items()]
    memory = figures["memory"]
    if memory is not None:
        lines.append(f"resident memory over the uncut model's: {_spread(memory, '{:.2f}')}")
    steps = ", ".join(f"{name} {ms:.0f}" for name, ms in figures["steps_ms"].items())
    return (
        f"{caption}\n\n{rows_of(header, rows)}\n\nOver bare ONNX Runtime with the same files, pair by pair, before any "
        f"warm-up unless it says so: {'; '.join(lines)}.\n\nOne after another the steps take, in milliseconds: {steps}."
    )


def _spread(values: list[float], form: str) -> str:
    middle, low, high = (form.format(v) for v in values)
    return f"{middle} ({low} to {high})"


@contextlib.contextmanager
def folder(given: Path | None) -> Iterator[Path]:
    """The folder given, or one that vanishes."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def main(words: list[str] | None = None) -> None:
    parser = parser_for("cold", __doc__)
    model_option(parser)
    parser.add_argument("--exits", type=int, default=12, help="the last layer's included; a divisor of 12")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15, help="fresh processes of each kind")
    parser.add_argument("--work", type=Path, help="folder to keep the models in for another run")
    options = parser.parse_args(words)
    with folder(options.work) as work:
        tell(f"exporting ViT-{options.size}, {options.exits} exits")
        in_process(prepare, work, options.size, options.image, options.patch, options.exits, options.threads)
        figures = run(work, options.threads, options.rounds)
    record("cold", argparse.Namespace(**{k: v for k, v in vars(options).items() if k != "work"}), figures)


if __name__ == "__main__":
    one_line(main, "no figures were written")
