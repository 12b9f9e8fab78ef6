"""The pictures of policies: what they hold, where it stands, and that they are drawn anew by one command."""

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import scheduling_plot, tables
from benchmarks.scheduling_plot import LOOKS, PANELS, behind, computed, missed
from benchmarks.scheduling_table import read
from jetson.errors import BadInput, MissingExtra
from jetson.files import sha256_file
from tests.benchmarks.results import write
from toolkit.simulate.scenarios import NAMES

FIGURES = ("acc_at_d", "miss_rate", "infeasible_share", "compute_ms", "branches_per_frame", "decision_us", "model_gap")
POLICIES = (*LOOKS, "oracle-latency", "oracle-full")
NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install '.[bench]'")


def made_up(seeds=3, scenarios=NAMES, miss_rate=0.02):
    rng = np.random.default_rng(0)
    runs = [
        {"scenario": s, "seed": k, "figures": rng.uniform(0.01, 0.9, (len(POLICIES), len(FIGURES))).tolist()}
        for s in scenarios
        for k in range(seeds)
    ]
    settings = {"frames": 100, "seeds": seeds, "miss_rate": miss_rate, "price": 0.1}
    found = {"settings": settings, "task": "classification", "data": "digits", "test_frames": 50, "exits": []}
    return found | {"threads": 1, "rounds": 9, "policies": list(POLICIES), "figures": list(FIGURES), "runs": runs}


def texts(svg):
    return ["".join(t.itertext()).strip() for t in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text")]


@pytest.mark.parametrize("seeds", [1, 8])
def test_a_picture_of_every_scenario_and_policy(matplotlib, tmp_path, capsys, seeds):
    file = write(tmp_path, "scheduling-x", made_up(seeds))
    assert scheduling_plot.main([str(file), "--out", str(tmp_path)]) == 0
    out = scheduling_plot.picture(tmp_path, "scheduling-x")
    assert capsys.readouterr().out == f"-> {out}\n"
    svg = out.read_text()
    assert len(svg.encode()) < 100_000 and f"sha256 {sha256_file(file)}" in svg
    assert {*NAMES, *LOOKS, *(p.title for p in PANELS), "promised: 2 %"} <= set(texts(svg))
    assert "#ffffff" in svg, "a background of its own, for dark pages"


def test_marks_stand_at_the_means_and_lines_from_end_to_end(matplotlib, tmp_path):
    from matplotlib.figure import Figure

    recorded = read(write(tmp_path, "x", made_up(4)))
    panel = PANELS[1]
    axes = Figure().subplots()
    marks = scheduling_plot._fill(axes, panel, recorded)
    assert set(marks) == set(panel.policies)
    lines = dict(zip([p for p in LOOKS if p in marks], axes.collections, strict=False))
    for policy, mark in marks.items():
        found = np.array([recorded.of(s, policy, "miss_rate") for s in NAMES])
        assert mark.get_xdata() == pytest.approx(100 * found.mean(axis=1))
        ends = np.array([segment[:, 0] for segment in lines[policy].get_segments()])
        assert ends == pytest.approx(100 * np.stack([found.min(axis=1), found.max(axis=1)], axis=1))
    rows = np.array([mark.get_ydata() for mark in marks.values()])
    assert (np.abs(rows - np.arange(len(NAMES))) < 0.5).all(), "each in its scenario's row"
    assert len(np.unique(rows)) == rows.size


def test_figures_are_differences_on_the_same_seeds(tmp_path):
    content = made_up(2, scenarios=("ramp",))
    for run, planner, replan, oracle in zip(content["runs"], (0.5, 0.6), (0.4, 0.3), (0.55, 0.58), strict=True):
        for policy, value in (("planner", planner), ("replan", replan), ("oracle-latency", oracle)):
            run["figures"][POLICIES.index(policy)] = [value, value / 10, 0.0, value, 1.0, None, None]
    recorded = read(write(tmp_path, "x", content))
    assert behind(recorded, "ramp", "planner") == pytest.approx([-5.0, 2.0])
    assert missed(recorded, "ramp", "replan") == pytest.approx([4.0, 3.0])
    assert computed(recorded, "ramp", "planner") == pytest.approx([25.0, 100.0])
    assert computed(recorded, "ramp", "replan") == pytest.approx([0.0, 0.0])


def test_without_a_file_all_results_are_drawn(matplotlib, tmp_path, monkeypatch):
    for name in ("scheduling-a", "scheduling-b", "other"):
        write(tmp_path, name, made_up(1, scenarios=("ramp", "idle")))
    monkeypatch.setattr(scheduling_plot, "RESULTS", tmp_path)
    assert scheduling_plot.main(["--out", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["scheduling-a.svg", "scheduling-b.svg"]


def test_what_cannot_be_drawn_is_one_line(tmp_path, monkeypatch, capsys):
    assert scheduling_plot.main([str(tmp_path / "none.json")]) == BadInput.exit_code
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = write(tmp_path, "x", made_up(1))
    assert scheduling_plot.main([str(file), "--out", str(tmp_path)]) == MissingExtra.exit_code
    assert capsys.readouterr().err == "matplotlib is not installed: pip install 'offramp[bench]'\n"


def test_the_page_shows_it_with_words_and_its_commands(tmp_path):
    write(tmp_path, "scheduling-cifar10", made_up())
    text = tables.REGISTRY["scheduling-cifar10-picture"](tmp_path)
    assert "drawn by `python -m benchmarks.scheduling_plot benchmarks/results/scheduling-cifar10.json`" in text
    assert "--frames 100 --seeds 3 --miss-rate 0.02" in text and "the 2 % that `planner-promise` promises" in text
    (alt, place), *others = re.findall(r"!\[(.*)\]\((.*)\)", text)
    assert place == "images/scheduling-cifar10.svg" and alt.startswith("digits: ") and not others
