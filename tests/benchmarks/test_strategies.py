"""`python -m benchmarks.strategies`: every case runs and says what it reached and what it took."""

import json
import sys

import pytest

from benchmarks import strategies


@pytest.mark.slow
def test_every_strategy_is_run_and_kept(tmp_path, monkeypatch):
    out = tmp_path / "found.json"
    words = ["--data", "digits", "--limit", "64", "--exits", "1:mlp", "--depth", "2", "--patch-size", "4"]
    words += ["--epochs", "1", "--seeds", "3", "--jobs", "1", "--work", str(tmp_path / "work"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["strategies", *words])
    strategies.main()
    found = json.loads(out.read_text())
    assert [run["case"] for run in found["runs"]] == list(strategies.CASES)
    assert all(set(run["test"]) == {"1:mlp", "2:head"} and run["seed"] == 3 for run in found["runs"])
    epochs = {run["case"]: run["epochs"] for run in found["runs"]}
    assert epochs["end-to-end"] == {"end-to-end": 1}
    assert epochs["classifier-wise, distilled"] == {"backbone": 1, "branches": 1}
    assert epochs["layer-wise"] == {"layer 1": 1, "layer 2": 1}
    strategies.main()
    assert json.loads(out.read_text()) == found, "seconds included: nothing was trained anew"
