"""The pictures: small, the same bytes every time, and of the results that are there."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.paper import plots
from benchmarks.pictures import IMAGES
from benchmarks.tables import BUNDLES, RESULTS
from jetson.errors import MissingExtra
from jetson.files import sha256_file
from tests.benchmarks.results import made_up, write
from toolkit.models.config import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 100_000
NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install '.[bench]'")


def texts(svg):
    return ["".join(t.itertext()).strip() for t in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text")]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_picture_of_the_whole_experiment(matplotlib, tmp_path, capsys, task):
    branches = (*ARCHITECTURES[:-1], "resmlp:hidden=96")
    file = write(tmp_path, "x", made_up(0, task, layers=tuple(range(1, 12)), depth=12, branches=branches))
    assert plots.main([str(file), "--out", str(tmp_path)]) == 0
    out = plots.picture(tmp_path, "x")
    assert capsys.readouterr().out == f"-> {out}\n"
    svg = out.read_text()
    assert len(svg.encode()) < MOST_BYTES
    quality = "accuracy, %" if task == "classification" else "mean absolute error (lower is better)"
    wanted = {*ARCHITECTURES[:-1], "resmlp hidden=96", "head", "linear probe", "frontier", quality}
    assert wanted <= set(texts(svg))
    assert {"latency of the path to the exit, ms", "layer after which the exit lies"} <= set(texts(svg))
    assert "#ffffff" in svg, "a background of its own, for dark pages"
    assert f"sha256 {sha256_file(file)}" in svg


@pytest.mark.slow
def test_another_process_draws_the_same_bytes(matplotlib, tmp_path, monkeypatch):
    file = write(tmp_path, "x", made_up())
    matplotlib.rcParams["font.size"] = 17  # a user's own setting
    try:
        assert plots.main([str(file), "--out", str(tmp_path)]) == 0
        assert matplotlib.rcParams["font.size"] == 17
    finally:
        matplotlib.rcdefaults()
    command = [sys.executable, "-m", "benchmarks.paper.plots", str(file), "--out", str(tmp_path / "again")]
    subprocess.run(command, cwd=ROOT, check=True)
    assert plots.picture(tmp_path, "x").read_bytes() == plots.picture(tmp_path / "again", "x").read_bytes()


def test_one_seed_and_one_branch(matplotlib, tmp_path):
    file = write(tmp_path, "x", made_up(layers=(2,), seeds=(0,), branches=("mlp",)))
    assert plots.main([str(file), "--out", str(tmp_path)]) == 0
    assert {"mlp", "head"} <= set(texts(plots.picture(tmp_path, "x").read_text()))


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = write(tmp_path, "x", made_up())
    assert plots.main([str(file), "--out", str(tmp_path)]) == MissingExtra.exit_code
    assert capsys.readouterr().err == "matplotlib is not installed: pip install 'offramp[bench]'\n"


def results_of(picture):
    """The file of figures that a picture is drawn from."""
    return "cost-growth" if picture.startswith("growth-") else picture.removeprefix("frontier-")


def test_every_picture_shows_the_results_that_are_there():
    drawn = sorted(p for p in IMAGES.glob("*.svg") if p.stem != "offramp")  # docs/picture.py draws that one
    told = {p.stem: re.findall(r"sha256 (\w{64})<", p.read_text()) for p in drawn}
    assert told == {name: [sha256_file(RESULTS / f"{results_of(name)}.json")] for name in told}
    assert {f"scheduling-{name}" for name in BUNDLES} <= set(told)
    assert [p.name for p in drawn if p.stat().st_size >= MOST_BYTES] == []
