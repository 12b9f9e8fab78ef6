"""A fused branch against one apart: a tiny run, and the table."""

import sys

import pytest

from benchmarks.cost import cuts
from benchmarks.cost.record import Recorded, read
from jetson.engines import onnxruntime as ort_engines

SIDE = {"ratio": 1.0, "low": 0.995, "high": 1.1, "base_ms": 1.0}


def row(taken, skipped, branch_ms=0.3):
    sides = {"taken": SIDE | {"ratio": taken}, "skipped": SIDE | {"ratio": skipped}, "same": SIDE}
    return {"size": "tiny:32:4", "branch": "mlp", "difference": 0.0, "branch_ms": branch_ms, "call_ms": 0.003, **sides}


def made(*rows):
    settings = {"layers": 1, "threads": 1, "pairs": 50, "loads": 8}
    machine = {"processor": "abacus", "cores": 2, "onnxruntime": "1.2.3"}
    return Recorded("cuts", settings, machine, {"rows": list(rows)})


@pytest.mark.parametrize(
    ("taken", "skipped", "share"), [(0.99, 1.09, "90.0 %"), (0.998, 1.09, "no gain seen"), (0.98, 0.99, "0.0 %")]
)
def test_the_table_says_from_which_share_fusing_is_quicker(taken, skipped, share):
    lines = cuts.table(made(row(taken, skipped))).splitlines()
    assert "abacus, 2 cores" in lines[0] and "over 8 loads" in lines[0]
    cells = [c.strip() for c in lines[-1].strip("|").split("|")]
    assert cells[:4] == ["tiny:32:4", "mlp", "300", "3.0"] and cells[-2:] == ["99.0 %", share]
    assert cells[4] == f"{taken:.3f} (0.995 to 1.100)"


@pytest.mark.slow
def test_a_tiny_run_finds_equal_answers(tmp_path, monkeypatch):
    line = [
        "cuts",
        "--sizes",
        "tiny:8:4",
        "--branches",
        "mlp",
        "--loads",
        "1",
        "--pairs",
        "2",
        "--models",
        str(tmp_path),
        "--threads",
        str(ort_engines._process_threads or 1),  # one number a process
    ]
    monkeypatch.setattr(sys, "argv", [*line, "--out", str(tmp_path / "cost-cuts.json")])
    cuts.main()
    recorded = read(tmp_path / "cost-cuts.json")
    (found,) = recorded.figures["rows"]
    assert found["difference"] < 1e-5 and found["branch_ms"] > 0 and found["taken"]["base_ms"] > 0
    assert "models" not in recorded.settings and found["call_ms"] > 0
    assert "tiny:8:4" in cuts.table(recorded)
    monkeypatch.setattr("benchmarks.models.cut_bundle", None)  # a second run finds both bundles
    cuts.main()
