"""The benchmark of the cut: what the table says, and a real run of a tiny model."""

import pytest

from benchmarks.cost import overhead, record
from benchmarks.cost.record import Recorded


def ratio(size, cuts, threads, middle):
    spread = {"ratio": middle, "low": middle - 0.1, "high": middle + 0.1}
    return {"size": size, "cuts": cuts, "threads": threads, "base_ms": 20.0, "pairs": 7, "difference": 3e-6} | spread


def test_the_table():
    middles = {(1, 1): 1.0, (12, 1): 1.015, (1, 2): 0.99, (12, 2): 1.1}
    found = [ratio("tiny", cuts, threads, middle) for (cuts, threads), middle in middles.items()]
    settings = {"sizes": ["tiny"], "cuts": [1, 12], "threads": [1, 2], "pairs": 7, "image": 224, "patch": 16}
    text = overhead.table(Recorded("overhead", settings, {"processor": "abacus", "cores": 2}, {"ratios": found}))
    assert "| model | threads | whole, ms | 1 | 12 |" in text
    assert "| ViT-tiny | 1 | 20.0 | 1.000 (0.90 to 1.10) | 1.015 (0.91 to 1.11) |" in text
    assert "| ViT-tiny | 2 | 20.0 | 0.990 (0.89 to 1.09) | 1.100 (1.00 to 1.20) |" in text
    assert "differ by 3e-06 at most" in text and "median of 7 or more" in text


def test_layers_are_cut_evenly_or_not_at_all(capsys):
    with pytest.raises(SystemExit) as ended:
        overhead.main(["--cuts", "5"])
    assert ended.value.code == 2 and "can be cut into" in capsys.readouterr().err


@pytest.mark.slow
def test_a_tiny_run(tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "cost-overhead.json"
    words = f"--sizes tiny --cuts 1 2 --threads 1 --pairs 3 --image 32 --models {tmp_path} --out {out}"
    overhead.main(words.split())
    recorded = record.read(out)
    assert "models" not in recorded.settings
    assert [r["cuts"] for r in recorded.figures["ratios"]] == [1, 2]
    assert all(r["ratio"] > 0 and r["difference"] < 1e-4 for r in recorded.figures["ratios"])
    assert "ViT-tiny | 1 |" in overhead.table(recorded)
