"""The benchmark of streams: what the ways do with time, what is summed up, and what the tables say."""

import sys

import numpy as np
import pytest

from benchmarks.cost import record, streams
from benchmarks.cost.record import Recorded
from jetson.engines import onnxruntime as ort_engines
from jetson.profiling.measure import measure
from jetson.streams import Needs
from tests.bundles import fake_profile, tiny_bundle


def test_time_is_shared_out_in_three_ways():
    deadlines = [8.0, 9.0, 18.0]
    needs = Needs(2.0, 100.0)
    assert streams.no_share(0.0, needs, deadlines) == 8.0
    assert streams.needs_kept(0.0, needs, deadlines) == 7.0, "the next one needs two until 9"
    assert streams.even_share(0.0, needs, deadlines) == 4.5


def test_budgets_lie_between_the_quickest_exit_and_a_share_of_all(tmp_path):
    profile = fake_profile(tiny_bundle(tmp_path))
    quickest = min(e.end_to_end_ms.quantile(0.95) for e in profile.exits)
    found = np.array(streams.draw(profile, 1000, 0.5, np.random.default_rng(0))) - quickest
    most = 0.5 * 1000 * profile.exits[-1].end_to_end_ms.median
    assert found.min() >= 0 and 0.9 * most < found.max() <= most


def test_gains_are_differences_on_the_same_budgets():
    found = streams.summed({"given": [(0.2, 0.5, 9.0), (0.4, 0.5, 7.0)], "even": [(0.5, 1.0, 5.0), (0.5, 1.0, 5.0)]})
    assert found["even"]["gain"] == pytest.approx(0.2) and found["even"]["in_time"] == 1.0
    assert found["even"]["error"] == pytest.approx(0.1 / np.sqrt(2)) and found["given"]["gain"] == 0.0
    assert found["given"]["acc_at_d"] == pytest.approx(0.3) and found["given"]["last_ms"] == 8.0


def made_up(batches=True):
    way = {"acc_at_d": 0.512, "in_time": 0.9, "last_ms": 3.0, "gain": 0.034, "error": 0.01}
    figures = {
        "rows": [{"streams": 2, "load": 0.5, "ways": dict.fromkeys(streams.WAYS, way)}],
        "batches": [
            {"model": "tiny 56 8", "threads": t, "batch": b, "ratio": 0.75 + b, "low": 0.5, "high": 9.0}
            for t in (1, 2)
            for b in (2, 4)
            if batches
        ],
    }
    return Recorded("streams", {"rounds": 7, "pairs": 3}, {"processor": "abacus", "cores": 2}, figures)


def test_the_tables():
    text = streams.table(made_up())
    assert "| 2 | 0.5 | 51.2 (90) | 51.2 (90) | 51.2 (90) | 51.2 (90) | +3.4 ± 2.0 |" in text and "abacus" in text
    assert "| ViT-tiny 56 | 2 | 2.75 (0.50 to 9.00) | 4.75 (0.50 to 9.00) |" in text
    assert "batch" not in streams.table(made_up(batches=False))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_exports")
def test_a_tiny_run(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    from benchmarks import models

    out, usual = tmp_path / "cost-streams.json", models.random_model
    threads = ort_engines._process_threads or 1  # one number a process
    monkeypatch.setattr(streams, "BATCHED", ("tiny 32 16 1",))
    monkeypatch.setattr(streams, "LAYERS", (1, 2))
    monkeypatch.setattr(models, "random_model", lambda *a: usual(*a, depth=3))
    follows = lambda bundle, seconds, **_: measure(bundle, threads=threads, seconds=seconds)  # noqa: E731
    monkeypatch.setattr(streams, "measure", follows)
    words = "streams --streams 2 --loads 1 --rounds 1 --profile-seconds 0 --batches 2 --threads 1 --pairs 2"
    monkeypatch.setattr(sys, "argv", [*words.split(), "--out", str(out)])
    streams.main()
    recorded = record.read(out)
    (row,) = recorded.figures["rows"]
    assert set(row["ways"]) == set(streams.WAYS) == set(streams.METHODS)
    assert all(0.0 <= way["acc_at_d"] <= way["in_time"] <= 1.0 for way in row["ways"].values())
    assert "2 frames" in streams.table(recorded)
