"""The benchmark of peers: who is told as not measured, what the table says, and that all give the same answers."""

import importlib.util

import pytest

from benchmarks.cost import peers, record
from benchmarks.cost.record import Recorded
from jetson.errors import WorkFailed


def test_what_cannot_be_had_is_told_with_its_reason(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fvcore" else name)
    monkeypatch.setattr(peers.shutil, "which", lambda _name: None)
    assert "fvcore" in peers.missing("earlyon") and "fvcore" in peers.missing("staged")
    assert "compiler" in peers.missing("compiled")
    assert [name for name in peers.NAMES if peers.missing(name) is None] == [
        n for n in peers.NAMES if n not in ("compiled", "earlyon", "staged")
    ]


def made_up():
    def found(ms, differs):
        exits = [
            {
                "exit": e,
                "p50_ms": ms * e,
                "p99_ms": 2 * ms * e,
                "n": 9,
                "over_ours": [ms, ms - 1, ms + 1],
                "difference": d,
            }
            for e, d in ((1, None), (2, differs))
        ]
        return {"start_s": {"answered": ms / 10}, "bytes": {"resident": 7_400_000}, "exits": exits}

    case = {
        "exits": 2,
        "threads": 1,
        "asked": [1, 2],
        "contestants": {"offramp": found(1, 0.0), "hooks": found(3, 0.004)},
    }
    figures = {"cases": [case], "not_measured": {"compiled": "there is no compiler"}, "versions": {}}
    settings = {"size": "tiny", "image": 32, "rounds": 3}
    return Recorded("peers", settings, {"processor": "abacus", "cores": 2}, figures)


def test_the_table():
    text = peers.table(made_up())
    assert "| PyTorch, forward hooks | 3.0 / 6.0 | 6.0 / 12.0 | 3.00 (2.00 to 4.00) | 0.30 | 7 |" in text
    assert "2 exits, one thread:" in text and "differ by 0.004 at most" in text
    assert "Not measured: torch.compile, stage by stage, since there is no compiler." in text


@pytest.mark.slow
def test_a_tiny_run(tmp_path, prepared):
    out = tmp_path / "cost-peers.json"
    words = "--size tiny --image 32 --patch 16 --exits 2 --threads 1 --rounds 1 --runs 1 --without compiled --work"
    peers.main([*words.split(), str(prepared), "--out", str(out)])
    recorded = record.read(out)
    (case,) = recorded.figures["cases"]
    measured = {name for name in peers.NAMES if name not in recorded.figures["not_measured"]}
    assert set(case["contestants"]) == measured >= {"offramp", "straight", "chain", "every", "whole", "hooks"}
    assert recorded.figures["not_measured"]["compiled"] == "it was left out" and "work" not in recorded.settings
    for found in case["contestants"].values():
        assert all(e["n"] == 1 and (e["difference"] or 0.0) < 1e-3 for e in found["exits"])
    assert found["exits"][-1]["difference"] is not None
    assert "ViT-tiny, 32 px" in peers.table(recorded)


def test_a_contestant_that_fails_is_one_line(tmp_path):
    with pytest.raises(WorkFailed, match="the units in ONNX Runtime, bare failed: ") as caught:
        peers.Contestant("chain", tmp_path, 1, [0])
    assert "\n" not in str(caught.value)
