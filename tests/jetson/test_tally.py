"""The figures of a run without end; what they are is tested with `summarise`, in test_replay.py."""

import numpy as np

from jetson import tally
from jetson.tally import Tally


def record(t_ms, elapsed_ms, **changes):
    plain = {"correct": None, "error_abs": None, "met_deadline": True, "feasible": True, "units": [], "branches": 1}
    return plain | {"t_ms": t_ms, "elapsed_ms": elapsed_ms, "exit_name": "a", "dropped": 0} | changes


def test_quantiles_come_from_a_sample_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(tally, "KEPT", 500)
    kept, drawn = Tally(), np.random.default_rng(0).permutation(20_000)
    for t_ms, elapsed_ms in enumerate(drawn):
        kept.add(record(float(t_ms), float(elapsed_ms)))
    found = kept.summary()
    assert len(kept._elapsed) == 500 and found["frames"] == 20_000
    assert abs(found["p50_ms"] - 10_000) < 1_500 and found["p99_ms"] > 19_000


def test_what_was_dropped_and_how_long_it_took():
    kept = Tally()
    for t_ms, dropped in ((100.0, 0), (200.0, 3), (400.0, 1)):
        kept.add(record(t_ms, 50.0, dropped=dropped, met_deadline=t_ms < 300.0, correct=True))
    found = kept.summary()
    assert found["dropped"] == 4 and found["seconds"] == 0.35 and found["late"] == 1
    assert kept.acc_at_d == found["acc_at_d"] == 2 / 3
