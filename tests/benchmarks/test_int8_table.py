"""The tables of `python -m benchmarks.int8`: what stands in them, and what is no result."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from benchmarks import tables
from benchmarks.int8_table import (
    MODELS,
    Case,
    Errors,
    Recorded,
    Stated,
    Time,
    confidence_table,
    noise_floor,
    read,
    table,
)
from calibration.reliability import reliability
from jetson.errors import BadInput
from tests.benchmarks.test_tables import cells

LIMIT = 100_000
"""Bytes of a file of results."""


def stated(n, seed=0, gap=0.0):
    """Of n images whose answers come true as often as they say, or less often by `gap`."""
    rng = np.random.default_rng(seed)
    said = rng.uniform(0.3, 1, n)
    return reliability(np.minimum(said + 0.2, 1), said, rng.random(n) < said - gap, "test")


def case(name, drop=(0.012, -0.0004), time=True, **changes):
    given = {
        "name": name,
        "n": 2000,
        "quality": (0.7, 0.8),
        "drop": drop,
        "spread": (0.0061, 0.002),
        "noise": (0.01, 0.02),
    }
    given |= {"sizes": {"segment-1": 0.261, "head": 0.47}, "size": 0.27}
    given |= {"time": Time(ratio=0.75, low=0.7, high=0.875, base_ms=4.2) if time else None}
    return Case(**given | changes)


def made_up(**changes):
    given = {
        "settings": {"frames": 256, "test_frames": 10000, "pairs": 300, "threads": 1},
        "data": "ab" * 32,
        "n": 2000,
        "task": "classification",
        "exits": ("1:mlp", "2:head"),
        "machine": {"processor": "abacus", "onnxruntime": "1.0"},
        "units": {"segment-1": 8_000_000, "head": 10_000},
        "quality": (0.712, 0.8),
        "max_drop": 0.01,
        "kept": {},
        "cases": (case("`offramp build`"), case("its half", time=False, n=500)),
        "stated": Stated(
            fitted=500,
            exits={"fp32": (stated(2000), stated(2000, gap=0.1)), "int8": (stated(2000),) * 2},
            divided=(Errors(mean=0.021, deviation=0.004), Errors(mean=0.03, deviation=0.005)),
        ),
    }
    return Recorded(**given | changes)


def put(folder, name, recorded):
    file = folder / f"int8-{name}.json"
    file.write_bytes(msgspec.json.encode(recorded))
    return file


def test_a_row_has_what_changes_against_fp32():
    text = table(made_up())
    header, _, *rows = cells(text)
    assert header == ["units in", "`1:mlp`", "`2:head`", "size", "time"]
    assert rows == [
        ["fp32", "71.2", "80.0", "1.00", "1.00"],
        ["`offramp build`", "-1.20 ± 0.61", "+0.04 ± 0.20", "0.27", "0.75 (0.70 to 0.88)"],
        ["its half (500 images)", "-1.20 ± 0.61", "+0.04 ± 0.20", "0.27", ""],
    ]
    assert "on 2,000 test images" in text and "from 256 fit images" in text and "which are 8.0 MB" in text
    assert "each has 0.26 of its bytes, the head of 10 kB 0.47" in text
    assert "one point" in text and "kept no unit" in text and "ONNX Runtime 1.0 on a CPU (abacus), 1 thread" in text


def test_what_the_gate_kept_is_named():
    text = table(made_up(kept={"branch-1-mlp": "fp32"}, max_drop=0.02))
    assert "kept `branch-1-mlp` out of int8" in text and "2 points" in text


def test_a_bundle_whose_units_all_stayed_has_a_table():
    text = table(made_up(cases=(case("mse", sizes={}, size=1.0),)))
    assert "none of the units is in int8" in text


def test_in_regression_more_is_worse():
    text = table(made_up(task="regression", quality=(0.712, 1.5), stated=None))
    _, _, *rows = cells(text)
    assert rows[0][1:3] == ["0.712", "1.500"] and rows[1][1:3] == ["+0.0120 ± 0.0061", "-0.0004 ± 0.0020"]
    assert text.startswith("Mean absolute error on") and "1 %" in text


def test_no_change_has_no_sign_of_loss():
    _, _, _, row, _ = cells(table(made_up(cases=(case("a", drop=(-0.0, 0.00001)), case("b")))))
    assert row[1].startswith("+0.00") and row[2].startswith("+0.00")


def test_confidence_has_a_row_for_every_exit_of_a_classification():
    recorded = made_up()
    text = confidence_table({"one": recorded, "values": made_up(task="regression", stated=None)})
    _, _, *rows = cells(text)
    assert [row[:3] for row in rows] == [["one", "`1:mlp`", "71.2"], ["one", "`2:head`", "80.0"]]
    first, second = recorded.stated.exits["fp32"]
    assert rows[0][3:5] == [f"{100 * first.before:.1f}", f"{100 * first.after:.1f}"]
    floor, wrong = float(rows[1][5]), float(rows[1][4])
    assert 1 < floor < 3 and 8 < wrong < 12 and second.after > 0.08
    assert "one: fitted to 500 images, held against 2,000" in text
    assert rows[0][6] == "2.1 ± 0.4"
    alone = msgspec.structs.replace(recorded.stated, exits={"fp32": (first, second)})
    assert cells(confidence_table({"one": made_up(stated=alone)}))[2][7] == "", "no unit was in int8"


@pytest.mark.parametrize("n", [40, 2000])
def test_the_floor_is_what_right_probabilities_show(n):
    found = [stated(n, seed) for seed in range(300)]
    assert np.mean([noise_floor(f) for f in found]) == pytest.approx(np.mean([f.after for f in found]), rel=0.05)
    sure = reliability(np.ones(50), np.ones(50), np.ones(50, bool), "test")
    assert noise_floor(sure) == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_other_files_are_no_results(tmp_path, content):
    (tmp_path / "int8-fashion.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"int8-fashion\.json: not the results of benchmarks\.int8"):
        read(tmp_path / "int8-fashion.json", "fashion")


@pytest.mark.parametrize("cases", [(), (case("a", drop=(0.1,)),)])
def test_results_without_every_exit_are_none(tmp_path, cases):
    with pytest.raises(BadInput, match="not every exit was judged in every case"):
        read(put(tmp_path, "fashion", made_up(cases=cases)), "fashion")


def test_absent_results_name_the_commands(tmp_path):
    with pytest.raises(BadInput, match=r"make it with: offramp train --data cifar10:FILE .* python -m "):
        tables.REGISTRY["int8-cifar10"](tmp_path)
    put(tmp_path, "fashion", made_up())
    with pytest.raises(BadInput, match=r"int8-cifar10\.json is not there"):
        tables.REGISTRY["confidence"](tmp_path)


def test_the_registry_makes_them_with_their_commands(tmp_path):
    for name in MODELS:
        put(tmp_path, name, made_up())
        text = tables.REGISTRY[f"int8-{name}"](tmp_path)
        first, empty, *_ = text.splitlines()
        assert empty == "" and first.endswith(f"this table: `python -m benchmarks.tables int8-{name}`.")
        assert "`offramp build CHECKPOINT --out BUNDLE --precision int8`" in first
        assert f"--test-frames 10000 --pairs 300 --threads 1 --out benchmarks/results/int8-{name}.json`" in first
    assert "tables confidence`." in tables.REGISTRY["confidence"](tmp_path).splitlines()[0]


@pytest.mark.parametrize("name", MODELS)
def test_the_results_kept_are_small_and_name_no_place(name):
    text = (tables.RESULTS / f"int8-{name}.json").read_text()
    assert len(text) < LIMIT and "/" not in text
