"""`python -m benchmarks.paper` from tokens to results, on a small random backbone and few images."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.command import one_line
from benchmarks.models import random_model
from benchmarks.paper import __main__ as paper
from benchmarks.paper.latency import latencies
from benchmarks.paper.probe import features
from benchmarks.paper.runs import Bench, Experiment
from benchmarks.paper.train import Recipe
from jetson.engines import onnxruntime as ort_engines
from jetson.errors import BadInput
from toolkit.models.config import ExitConfig
from toolkit.models.count import parameters
from toolkit.training.settings import TrainSettings

DATA = ("--data", "digits", "--limit", "300", "--backbone", "tiny", "--image-size", "8")


def run(monkeypatch: pytest.MonkeyPatch, work: Path, *more: str) -> dict:
    out = work / "found.json"
    words = [*DATA, "--layers", "2", "--epochs", "1", "--jobs", "1", "--latency-seconds", "0", *more]
    monkeypatch.setattr(sys, "argv", ["paper", *words, "--work", str(work), "--out", str(out)])
    paper.main()
    return json.loads(out.read_text())


def bench(work: Path, data: str = "digits", limit: int = 300) -> Bench:
    settings = TrainSettings(
        data=data, out=work, exits="2:mlp,2:cnn-add", backbone="tiny", image_size=(8, 8), limit=limit
    )
    return Bench(Experiment(settings, Recipe(epochs=1, light_epochs=2), work))


@pytest.mark.slow
def test_every_exit_and_seed_is_trained_once_and_kept(tmp_path, monkeypatch, capsys):
    found = run(monkeypatch, tmp_path, "--branches", "mlp", "cnn-add:channels=16", "--seeds", "0", "1")
    assert [(r["exit"], r["seed"]) for r in found["runs"]] == [
        (name, seed) for seed in (0, 1) for name in ("2:mlp", "2:cnn-add", "12:head")
    ]
    assert found["data"] == {"name": "digits", "train": 300, "calibration": 300, "test": 300}
    assert set(found["probe"]) == {"2", "12"} and found["mean_error"] is None and found["latency"] is None
    light = {r["exit"]: r["test"] for r in found["runs"] if r["seed"] == 0}
    assert light["2:mlp"] > 0.5, "24 epochs on 300 digits are enough to be far from chance"
    assert "done already" not in capsys.readouterr().out
    again = run(monkeypatch, tmp_path, "--branches", "mlp", "cnn-add:channels=16", "--seeds", "0", "1")
    assert again["runs"] == found["runs"], "seconds included: nothing was trained anew"
    assert "6 of 6 runs are done already" in capsys.readouterr().out
    some = run(
        *(monkeypatch, tmp_path, "--branches", "mlp", "cnn-add:channels=16", "--seeds", "0", "1"),
        *("--repeat-layers", "12"),
    )
    assert [(r["exit"], r["seed"]) for r in some["runs"]] == [
        ("2:mlp", 0),
        ("2:cnn-add", 0),
        ("12:head", 0),
        ("12:head", 1),
    ]
    wide = run(monkeypatch, tmp_path, "--branches", "cnn-add:channels=24", "--seeds", "0")
    assert wide["runs"][0]["parameters"] != found["runs"][1]["parameters"], "another branch option is another run"


@pytest.mark.slow
def test_latency_stands_beside_every_unit(tmp_path):
    model = random_model("tiny", 8, 4, (ExitConfig(layer=1, architecture="mlp"),), depth=2)
    threads = ort_engines._process_threads or 1  # one number a process
    found = latencies(model, threads, 0.1, tmp_path / "units")
    units = found["units"]
    assert list(units) == ["segment-1", "branch-1-mlp", "segment-2", "head"]
    assert all(u["ms"] > 0 and u["p95_ms"] >= u["ms"] and u["flops"] > 0 for u in units.values())
    assert units["branch-1-mlp"]["parameters"] == parameters(model.branches[0])
    assert found["boundary_ms"] >= 0 and found["rounds"] >= 20
    stamp = (tmp_path / "units" / "parts" / "manifest.json").stat().st_mtime_ns
    assert list(latencies(model, threads, 0.1, tmp_path / "units")["units"]) == list(units)
    assert (tmp_path / "units" / "parts" / "manifest.json").stat().st_mtime_ns == stamp, "exported once"


@pytest.mark.slow
def test_regression_reports_errors_in_raw_units(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "grey").mkdir()
    rows = ["file,brightness"]
    for number in range(240):
        value = int(rng.integers(0, 200))
        pixels = (value + rng.integers(0, 20, (8, 8, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "grey" / f"{number}.png")
        rows.append(f"{number}.png,{value}")
    (tmp_path / "grey" / "targets.csv").write_text("\n".join(rows) + "\n")
    found = run(monkeypatch, tmp_path, "--data", str(tmp_path / "grey"), "--branches", "mlp", "--seeds", "0")
    assert found["task"] == "regression" and 40 < found["mean_error"] < 60
    assert all(0 < r["test"] < 40 for r in found["runs"]), "better than the mean"
    assert all(p["test"] < 40 for p in found["probe"].values())


def test_tokens_are_the_backbones_and_are_not_made_twice(tmp_path):
    import torch

    made = bench(tmp_path)
    made.store.compute(lambda *_: None)
    tokens = made.store.at("test", 2).load()
    assert sorted({int(f.stem[-2:]) for f in (tmp_path / "tokens").glob("*.npy")}) == [2, 12], "layers with an exit"
    backbone, frame = made.plan.model.backbone, made.plan.data.test.images[3]
    mean, std = made.plan.model.config.preprocessing.mean, made.plan.model.config.preprocessing.std
    pixels = (torch.from_numpy(frame).permute(2, 0, 1)[None] / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        expected = backbone.layers[1](backbone.layers[0](backbone.stem(pixels.float())))[0]
    np.testing.assert_allclose(tokens[3], expected.numpy(), atol=5e-3)
    read = features(made.store, "test", 2)[3]
    np.testing.assert_allclose(
        read, np.concatenate([tokens[3, 0], tokens[3, 1:].astype(np.float32).mean(0)]), atol=1e-3
    )
    stamp = made.store.at("test", 2).file.stat().st_mtime_ns
    bench(tmp_path).store.compute(lambda *_: pytest.fail("computed again"))
    assert made.store.at("test", 2).file.stat().st_mtime_ns == stamp


def test_tokens_of_other_images_are_refused(tmp_path):
    bench(tmp_path)
    with pytest.raises(BadInput, match="other data; name another folder"):
        bench(tmp_path, limit=299)


def test_a_disk_that_cannot_hold_the_tokens_is_found_out_first(tmp_path, monkeypatch):
    made = bench(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(BadInput, match=r"the tokens take 0\.0 GB, 0\.0 GB are free"):
        made.store.compute(lambda *_: None)
    assert not list((tmp_path / "tokens").glob("*.npy"))


def test_a_mistake_is_one_line_and_ctrl_c_says_how_to_go_on(capsys):
    def mistaken() -> None:
        raise BadInput("no such thing")

    def interrupted() -> None:
        raise KeyboardInterrupt

    for main, code, words in ((mistaken, 2, "no such thing"), (interrupted, 130, "the same command goes on")):
        with pytest.raises(SystemExit) as end:
            one_line(main)
        assert end.value.code == code and words in capsys.readouterr().err
