"""The benchmark of batches: what is recorded, and what the tables say."""

import pytest

from benchmarks.cost import batches, streams
from benchmarks.cost.record import Recorded
from jetson.engines import onnxruntime as ort_engines


def test_the_tables():
    way = {"acc_at_d": 0.512, "in_time": 0.9, "last_ms": 3.0, "gain": 0.034, "error": 0.01}
    row = {"model": "tiny 56 8", "threads": 2, "streams": 4, "load": 0.5, "rounds": 7, "grouped": 0.25}
    row |= {"ways": {"one": way, "batches": way}, "ratios": {"2": [0.9, 0.8], "4": [0.7, 0.6]}}
    text = batches.table(Recorded("batches", {}, {"processor": "abacus", "cores": 2}, {"rows": [row]}))
    assert "| ViT-tiny 56 | 2 | 0.90, 0.80 | 0.70, 0.60 |" in text and "abacus" in text
    assert "| ViT-tiny 56 | 2 | 4 | 0.5 | 51.2 (90) | 51.2 (90) | +3.4 ± 2.0 | 25 % | 7 |" in text


@pytest.mark.slow
@pytest.mark.usefixtures("quick_exports")
def test_a_tiny_run(monkeypatch):
    pytest.importorskip("torch")
    from benchmarks import models

    usual, threads = models.random_model, ort_engines._process_threads or 1  # one number a process
    monkeypatch.setattr(streams, "LAYERS", (1, 2))
    monkeypatch.setattr(models, "random_model", lambda *a: usual(*a, depth=3))
    (row,) = batches.in_batches("tiny 32 16", threads, [2], [1.0], 1, 0.0, [2], 0)
    assert set(row["ways"]) == {"one", "batches"} and [len(r) for r in row["ratios"].values()] == [3]
    assert all(0.0 <= way["acc_at_d"] <= way["in_time"] <= 1.0 for way in row["ways"].values())
