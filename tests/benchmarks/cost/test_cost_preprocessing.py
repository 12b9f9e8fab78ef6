"""The preprocessing benchmark: that its ways do the same thing, and what its table says."""

import sys

import numpy as np
import pytest

from benchmarks.cost import preprocessing, record
from jetson.manifest import Preprocessing
from jetson.preprocessing import Preprocessor


def run(monkeypatch, tmp_path, *words):
    out = tmp_path / "cost-preprocessing.json"
    monkeypatch.setattr(sys, "argv", ["preprocessing", "--out", str(out), *words])
    preprocessing.main()
    return record.read(out)


def test_a_tiny_run(monkeypatch, tmp_path, capsys):
    recorded = run(monkeypatch, tmp_path, "--frames", "30x40x3", "30x40x1", "--edges", "8", "--pairs", "2")
    text = preprocessing.table(recorded)
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert cells[0][:4] == ["frame", "to", "ours, ms", "tap by tap"] and len({len(row) for row in cells}) == 1
    assert [row[0] for row in cells[2:]] == ["30x40x3", "30x40x1", "8x8x3", "8x8x1"]
    assert f"numpy {np.__version__}" in text and "2 pairs" in text
    for row in recorded.figures["rows"]:
        assert row["against"]["taps"]["levels"] < 1e-3 and row["ms"] > 0
    assert "30x40x3 to 8" in capsys.readouterr().err


def test_ways_that_look_at_every_pixel_agree():
    pytest.importorskip("PIL")
    image = np.repeat(np.arange(120, dtype=np.uint8)[:, None], 90, axis=1)[:, :, None].repeat(3, axis=2)
    config = Preprocessing(height=24, width=24, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    expected = Preprocessor(config)(image)
    for name, way in preprocessing.ways(image, config).items():
        assert np.abs(way() - expected).max() < 0.02, name


def test_what_is_not_installed_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    recorded = run(monkeypatch, tmp_path, "--frames", "9x9x1", "--edges", "4", "--pairs", "1")
    assert list(recorded.figures["rows"][0]["against"]) == ["taps"]
    assert "OpenCV, area" not in preprocessing.table(recorded) and "Pillow" not in preprocessing.table(recorded)
