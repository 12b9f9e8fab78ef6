"""The section of policies: its figures, its pictures, its table, and when it is left out."""

import json
import re
import shutil
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jetson.samples import Samples
from tests.bundles import fake_profile, tiny_bundle
from tests.toolkit.report.comparisons import made_up
from tests.toolkit.report.pages import Page
from toolkit.cli import main
from toolkit.report import comparison, write_report
from toolkit.report.comparison import compare
from toolkit.report.comparison_picture import INSET, LEFT, SIZE, WIDTH, Axis, draw, drawn_policies, panels, pictures
from toolkit.report.comparison_table import section, table
from toolkit.report.gather import gather
from toolkit.simulate import compiled, loop
from toolkit.simulate.contestants import usual

OUTPUTS = {"classification": 3, "regression": 2}


def answers(task, seed):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0.0, 1.0, (60, 4, OUTPUTS[task])).astype(np.float32)
    if task == "regression":
        return Samples.of(outputs, outputs[:, 3] + 0.1, None)
    return Samples.of(outputs, outputs[:, 3].argmax(axis=1), [1.5] * 4)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Runs whose bundles record answers, and two that give nothing to compare."""
    folder = tmp_path_factory.mktemp("runs")
    recorded = {t: {r: answers(t, k) for k, r in enumerate(("fit", "select", "test"))} for t in OUTPUTS}
    made = {t: tiny_bundle(folder / t / "bundle", task=t, outputs=OUTPUTS[t], samples=recorded[t]) for t in OUTPUTS}
    made |= {"silent": tiny_bundle(folder / "silent" / "bundle")}
    made |= {"alone": tiny_bundle(folder / "alone" / "bundle", exits=((4, "head"),))}
    for name, bundle in made.items():
        fake_profile(bundle, spread=0.1).save(folder / name / "profile.json")
    return folder


@pytest.fixture
def run(shelf, tmp_path):
    """A function that gives a run's folder, to write into."""
    return lambda name="classification": shutil.copytree(shelf / name, tmp_path / name)


def few(run, simulate=loop.simulate, done=lambda _share: None):
    """Two scenarios of a few frames, in plain Python."""
    return compare(run, simulate, done, ("stationary", "revised"), 40)


@pytest.mark.parametrize("task", OUTPUTS)
def test_figures_are_those_of_the_command(run, capsys, monkeypatch, task):
    monkeypatch.setitem(sys.modules, "numba", None)
    folder, shares = run(task), []
    found = few(gather(folder), done=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 10
    assert found.images == 60 and found.policies == usual(gather(folder).manifest)
    for scenario in found.scenarios:
        words = f"--scenario {scenario} --frames 40 --json".split()
        assert main(["simulate", str(folder / "bundle"), "--profile", str(folder / "profile.json"), *words]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [r.pop("decision_us") is None for r in rows] == [r["policy"].startswith("oracle") for r in rows]
        for row in rows:
            ours = dict(found.figures[scenario][row["policy"]])
            ours.pop("decision_us")
            assert ours == row
            gain = -found.gain(scenario, row["policy"])
            assert gain == pytest.approx(row["regret_latency_oracle"]), "what is drawn is what the command calls regret"


def test_an_axis_is_even_near_zero_and_logarithmic_beyond():
    axis = Axis.of([-1.0, 0.1], 0.01)
    assert axis.x(-1.0) == pytest.approx(LEFT + INSET) and axis.x(0.1) == pytest.approx(LEFT + WIDTH - INSET)
    x = [axis.x(v) for v in (-1.0, -0.1, -0.01, -0.005, 0.0, 0.005, 0.01, 0.1)]
    steps = np.diff(x) / (x[1] - x[0])
    assert steps == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.0])
    assert Axis.of([0.0], 0.01).x(0.0) == LEFT + INSET


def test_ticks_have_room():
    axis = Axis.of([-0.9, 0.05], 0.01)
    found = axis.ticks([0.0, 0.01, -0.01, 0.0101, 0.9, -0.1], lambda v: f"{v:.2f}")
    assert found == [0.0, 0.01, -0.01, -0.1]


@pytest.mark.parametrize("classify", [True, False])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_marks_stand_where_the_figures_are(classify, number):
    compared = made_up(classify)
    panel = panels(compared)[number]
    drawn = draw(compared, panel)
    values = np.array([[panel.figure(s, look.name) for look in drawn_policies(compared)] for s in compared.scenarios])
    axis = Axis.of(values.ravel(), panel.even)
    spots = [p.get("transform") for p in drawn.iter("path") if p.get("class") == "spot"]
    places = np.array([re.findall(r"[-\d.]+", move)[:2] for move in spots], float).reshape(*values.shape, 2) + 6 * SIZE
    assert places[:, :, 0] == pytest.approx(np.vectorize(axis.x)(values), abs=0.06)
    assert (np.diff(places[:, :, 1].ravel()) > 0).all(), "a row of its own for each"
    assert (np.argsort(places[:, :, 0], axis=1) == np.argsort(values, axis=1)).all()
    tips = [t.text.splitlines() for t in drawn.iter("title")]
    assert [t[0] for t in tips] == list(compared.scenarios)
    assert all([line.partition(":")[0] for line in t[1:]] == [p.name for p in drawn_policies(compared)] for t in tips)


def test_tips_tell_the_figures():
    compared = made_up(scenarios=("ramp",))
    figures = compared.figures["ramp"]
    figures["planner"] |= {"acc_at_d": 0.612, "miss_rate": 0.0123, "compute_ms": 3.0}
    figures["replan"] |= {"miss_rate": None, "compute_ms": 4.0}
    figures["oracle-latency"] |= {"acc_at_d": 0.65}
    tips = [t.text for p in panels(compared) for t in draw(compared, p).iter("title")]
    assert "planner: acc@D 61.2%, −3.8 points against oracle-latency" in tips[0]
    assert "planner: 1.23% missed" in tips[1] and "replan: no budget could be met" in tips[1]
    assert "planner: 3.00 ms, −25%" in tips[2] and "replan: 4.00 ms, 0%" in tips[2]
    missing = draw(compared, panels(compared)[1])
    assert len([p for p in missing.iter("path") if p.get("class") == "spot"]) == 5, "what there is not is not drawn"


def test_policies_look_different():
    looks = drawn_policies(made_up())
    assert len({look.colour for look in looks}) == len({look.path for look in looks}) == len(looks) == 6


@pytest.mark.parametrize("classify", [True, False])
def test_the_table_has_the_best_in_bold_and_means(classify):
    compared = made_up(classify, ("ramp", "idle"))
    compared.figures["ramp"]["planner"] |= {"acc_at_d": 0.95, "value": 0.95, "miss_rate": None, "compute_ms": 2.0}
    compared.figures["idle"]["planner"] |= {"acc_at_d": 0.05, "value": -0.05, "miss_rate": 0.5, "compute_ms": 4.0}
    found = table(compared)
    assert [c.text for c in found.header[1:]] == [*(p.name for p in drawn_policies(compared)), *compared.policies[-2:]]
    ramp, idle, mean = found.rows
    assert [c.strong for c in ramp[1:]] == [True, *[False] * (len(ramp) - 2)] and sum(c.strong for c in idle) == 1
    assert (ramp[1].text, ramp[1].note) == ("95.0%" if classify else "0.950", "n/a · 2.00 ms")
    assert idle[1].text == ("5.0%" if classify else "−0.050") and not idle[1].strong
    assert (mean[1].text, mean[1].note) == ("50.0%" if classify else "0.450", "50.00% · 3.00 ms")
    assert ("threshold" in found.caption) == classify


def test_the_page_has_the_section_and_its_command(run):
    folder = run()
    page = Page(write_report(folder, compare=few).read_text())
    assert "policies" in page.ids and ("a", {"href": "#policies"}) in page.elements
    assert "40 frames a scenario with the bundle's own recorded answers to its 60 test images" in page.plain
    assert section(few(gather(folder))).command.endswith("--scenario contention --frames 40")
    first = (folder / "report.html").read_bytes()
    assert write_report(folder, compare=few).read_bytes() == first
    for without in (None, lambda _run: None):
        page = Page(write_report(folder, compare=without).read_text())
        assert "policies" not in page.ids and ("a", {"href": "#policies"}) not in page.elements


def test_pictures_have_no_colours_of_their_own():
    for picture in pictures(made_up()):
        assert ET.fromstring(picture.drawing).get("role") == "img"
        assert not re.search(r"#[0-9a-f]{6}|href|url\(", picture.drawing)


@pytest.fixture
def report(run, monkeypatch, capsys):
    """A function that runs `offramp report` with few frames; gives what it said, and the page."""
    monkeypatch.setattr(comparison, "compare", few)

    def written(name, *words):
        folder = run(name)
        assert main(["report", str(folder), *words]) == 0
        return capsys.readouterr().err.splitlines(), Page((folder / "report.html").read_text())

    return written


def test_the_command_compares_by_machine_code(report, monkeypatch):
    monkeypatch.setattr(compiled, "compile_loop", lambda _tell: loop.simulate)
    said, page = report("classification")
    assert "policies" in page.ids and said[0].startswith("simulating policies") and len(said) == 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("silent", "the bundle records no answers to its test images; build it again, or: offramp calibrate"),
        ("alone", "with one exit there is nothing to choose"),
        ("classification", r"numba cannot be used .*: pip install 'offramp\[host\]'"),
    ],
)
def test_where_nothing_is_compared_one_line_says_why(report, monkeypatch, name, why):
    monkeypatch.setitem(sys.modules, "numba", None)
    said, page = report(name)
    assert "policies" not in page.ids and len(said) == 2
    assert re.fullmatch(f"no comparison of policies: {why}", said[0]) and said[1].startswith("report -> ")


def test_what_numba_refuses_is_not_run_as_plain_python(report, monkeypatch):
    def refuse(*_):
        raise compiled.NotCompiled("numba does not compile the loop (why)")

    monkeypatch.setattr(compiled, "compile_loop", lambda _tell: refuse)
    said, page = report("classification")
    assert "policies" not in page.ids
    assert "no comparison of policies: numba does not compile the loop (why)" in said


def test_no_comparison_on_demand(report, monkeypatch):
    monkeypatch.setattr(compiled, "compile_loop", None)
    said, page = report("classification", "--no-comparison")
    assert "policies" not in page.ids and len(said) == 1
