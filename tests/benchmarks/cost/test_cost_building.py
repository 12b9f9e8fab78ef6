"""The benchmark of builds: what the table says, and that each kind converts what it should."""

import pytest

from benchmarks.cost import building, record
from benchmarks.cost.record import Recorded


def test_the_table():
    seconds = {"whole": [2.0, 1.0, 3.0], "units": [8.0, 7.0, 9.0], "engines of units": [5.0, 5.0, 5.0]}
    figures = {
        "seconds": seconds,
        "over_whole": {name: [v / 2 for v in values] for name, values in seconds.items()},
        "made": {"whole": 1, "units": 24, "engines of units": 24},
        "no_engines": None,
    }
    settings = {"size": "tiny", "image": 32, "exits": 12, "rounds": 3}
    recorded = Recorded("building", settings, {"processor": "abacus", "cores": 2}, figures)
    text = building.table(recorded)
    assert "| all units | 24 | 8.00 (7.00 to 9.00) | 4.00 (3.50 to 4.50) |" in text
    assert "| TensorRT engines of all units | 24 | 5.00 (5.00 to 5.00) |" in text and "Not measured" not in text
    figures["no_engines"] = "it is not installed"
    assert "Not measured: TensorRT engines, since it is not installed." in building.table(recorded)


@pytest.mark.slow
def test_a_tiny_run(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setattr(building, "in_process", lambda function, *arguments: function(*arguments))
    out = tmp_path / "cost-building.json"
    words = "--size tiny --image 32 --exits 3 --rounds 1 --no-engines --out"
    building.main([*words.split(), str(out)])
    recorded = record.read(out)
    assert recorded.figures["made"] == {"whole": 1, "units": 6, "again": 0, "branch": 1}
    assert recorded.figures["no_engines"] == "it was left out"
    assert all(values[0] > 0 for values in recorded.figures["seconds"].values())
    assert "ViT-tiny, 32 px, 3 exits" in building.table(recorded)
