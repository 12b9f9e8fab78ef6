"""Lines of a run hold what `jetson.lines` says, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from jetson.lines import Frame, Last
from jetson.replay import replay, summarise
from jetson.runtime import Runtime
from jetson.scheduling.trace import FrameBudget
from tests.bundles import fake_profile, tiny_bundle


@pytest.mark.parametrize(("task", "targets"), [("classification", np.array([0, 1])), ("regression", np.zeros((2, 3)))])
@pytest.mark.parametrize("known", [True, False])
def test_a_runs_lines_are_as_documented(task: str, targets: np.ndarray, known: bool, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", task=task)
    profile = fake_profile(bundle)
    runtime = Runtime.load(bundle, profile)
    frames = np.zeros((2, 8, 8, 1), np.uint8)
    trace = [FrameBudget(0.0, 50.0), FrameBudget(0.0, float("inf"))]
    lines = list(replay(runtime, frames, trace, profile, targets if known else None, pace=False))
    runtime.close()
    read = [msgspec.json.decode(json.dumps(line, allow_nan=False), type=Frame) for line in lines]
    assert [line.frame for line in read] == [0, 1]
    assert read[1].budget_ms is None and read[0].units
    assert (read[0].correct is not None, read[0].error_abs is not None) == (
        known and task == "classification",
        known and task == "regression",
    )
    last = msgspec.json.decode(json.dumps({"summary": summarise(lines)}), type=Last)
    assert sum(last.summary.exits.values()) == last.summary.frames == 2
