import dataclasses
import math
import re
import xml.etree.ElementTree as ET
from fractions import Fraction

import msgspec
import pytest

from jetson.beliefs import Joint, Reliability, ReliabilityBin
from tests.toolkit.report.pages import page_of
from toolkit.report.confidence_tables import by_chance, errors_table, intervals_table
from toolkit.report.gather import gather
from toolkit.report.joint_tables import joint_tables
from toolkit.report.reliability_panels import LEFT, SIDE, TOP, reliability_panels, shown_split

BRANCHES = ("mlp", "cnn-ignore", "cnn-add", "cnn-project", "vit", "mlp-mixer", "resmlp")
TWELVE = {
    "layers": tuple(range(1, 13)),
    "exits": (*((n, BRANCHES[n % 7]) for n in range(1, 12)), (12, "head")),
}


@pytest.fixture
def read(make_run):
    """A function that reads the run of a recipe with beliefs and, unless told otherwise, nothing that takes time."""
    return lambda **recipe: gather(make_run(**{"beliefs": True, "frames": None, "history": False} | recipe))


def with_(run, **fields):
    """The run with other fields in its manifest."""
    return dataclasses.replace(run, bundle=msgspec.structs.replace(run.manifest, **fields))


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def judged_on(exit_, split):
    return next(r for r in exit_.reliability if r.split == split)


def test_a_diagram_has_a_point_for_every_bin_with_frames(read):
    run = read()
    panels = reliability_panels(run)
    assert [p.style.name for p in panels] == [e.name for e in run.manifest.exits]
    for panel, exit_ in zip(panels, run.manifest.exits, strict=True):
        root = ET.fromstring(panel.drawing)
        judged = judged_on(exit_, "test")
        for kind, bins in (("before", judged.bins_before), ("after", judged.bins_after)):
            points = [e for e in root.iter("circle") if e.get("class") == kind]
            bars = [e for e in root.iter("rect") if e.get("class") == kind]
            filled = [b for b in bins if b.n]
            assert len(points) == len(bars) == len(filled) > 3
            for point, found in zip(points, filled, strict=True):
                assert float(point.get("cx")) == pytest.approx(LEFT + SIDE * found.stated, abs=0.06)
                assert float(point.get("cy")) == pytest.approx(TOP + SIDE * (1 - found.right), abs=0.06)
            heights = {b.n: float(bar.get("height")) for b, bar in zip(filled, bars, strict=True)}
            assert [heights[n] for n in sorted(heights)] == sorted(heights.values())
            radii = {b.n: float(point.get("r")) for b, point in zip(filled, points, strict=True)}
            assert [radii[n] for n in sorted(radii)] == sorted(radii.values())


def test_a_diagram_tells_what_it_shows(read):
    run = read()
    root = ET.fromstring(reliability_panels(run)[0].drawing)
    judged = judged_on(run.manifest.exits[0], "test")
    assert root.get("role") == "img"
    assert f"on {judged.n:,} frames of the test split" in root.get("aria-label")
    assert f"{100 * judged.before:.1f}% before, {100 * judged.after:.1f}% after" in root.get("aria-label")
    told = [e.text for e in root.iter("title")]
    used = [i for i, b in enumerate(judged.bins_after) if b.n or judged.bins_before[i].n]
    assert len(told) == len(used)
    for text, place in zip(told, used, strict=True):
        assert (f"after: {judged.bins_after[place].n:,} frame" in text) is bool(judged.bins_after[place].n)


def test_the_look_of_before_and_after_differs_without_colour(read):
    root = ET.fromstring(reliability_panels(read())[0].drawing)
    assert {e.get("class") for e in root.iter("circle")} == {"before", "after"}
    styles = {e.get("style") for e in root.iter("circle") if e.get("class") == "before"}
    assert styles == {"--of:var(--ink)"}


def test_select_is_shown_where_there_is_no_test(read):
    run = read()
    assert shown_split(run) == "test"
    exits = tuple(msgspec.structs.replace(e, reliability=e.reliability[:1]) for e in run.manifest.exits)
    run = with_(run, exits=exits)
    assert shown_split(run) == "select"
    assert "of the select split" in reliability_panels(run)[0].drawing
    bare = tuple(msgspec.structs.replace(e, reliability=()) for e in exits)
    run = with_(run, exits=bare)
    assert shown_split(run) is None
    assert reliability_panels(run) == ()
    assert errors_table(run) is None


def test_an_exit_that_nobody_judged_has_no_diagram_and_reads_not_available(read):
    run = read()
    first, *others = run.manifest.exits
    run = with_(run, exits=(msgspec.structs.replace(first, reliability=()), *others))
    assert [p.style.name for p in reliability_panels(run)] == [e.name for e in others]
    assert texts(errors_table(run))[0][1:] == ["n/a"] * 8


def test_the_calibration_errors_are_those_of_the_records(read):
    run = read()
    table = errors_table(run)
    assert [(c.text, c.note) for c in table.header[1:]] == [
        (name, f"{split} split") for split in ("select", "test") for name in ("n", "Before", "After", "Chance")
    ]
    for row, exit_ in zip(texts(table), run.manifest.exits, strict=True):
        expected = [exit_.name]
        for r in exit_.reliability:
            expected += [f"{r.n:,}", *(f"{100 * v:.2f}" for v in (r.before, r.after, by_chance(r)))]
        assert row == expected


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (7, 0.03), (40, 0.975), (200, 0.62)])
def test_chance_is_the_mean_over_all_that_could_have_come(n, p):
    bins = (ReliabilityBin(low=0.0, high=1.0, n=n, stated=p, right=1.0),)
    judged = Reliability(split="test", n=n, before=0.0, after=0.0, bins_before=bins, bins_after=bins)
    exact = Fraction(p)
    mean = sum(math.comb(n, k) * exact**k * (1 - exact) ** (n - k) * abs(Fraction(k, n) - exact) for k in range(n + 1))
    assert by_chance(judged) == pytest.approx(float(mean), rel=1e-9)


@pytest.mark.parametrize("stated", [0.0, 1.0])
def test_what_is_certain_leaves_nothing_to_chance(stated):
    bins = (ReliabilityBin(low=0.0, high=1.0, n=9, stated=stated, right=stated),)
    judged = Reliability(split="test", n=9, before=0.0, after=0.0, bins_before=bins, bins_after=bins)
    assert by_chance(judged) == 0.0


def test_a_regression_has_its_intervals_instead(read):
    run = read(task="regression", outputs=2)
    assert reliability_panels(run) == ()
    assert errors_table(run) is None
    table = intervals_table(run)
    assert [c.note for c in table.header][1:3] == ["output 1", "output 2"]
    for row, exit_ in zip(texts(table), run.manifest.exits, strict=True):
        interval = exit_.interval
        assert [float(t.removeprefix("± ")) for t in row[1:3]] == pytest.approx(interval.half_width, abs=0.006)
        assert row[3:] == ["90%", f"{interval.n}", "fit"]
    assert intervals_table(read()) is None


def test_the_joint_tables_hold_the_record(read):
    run = read()
    joint, exits = run.manifest.joint, run.manifest.exits
    tables = joint_tables(run)
    assert [t.style.name for t in tables] == [e.name for e in exits]
    values = [v for rows in joint.value for row in rows for v in row]
    for j, (given, edges, counts) in enumerate(zip(tables, joint.edges, joint.n, strict=True)):
        *rows, whole = given.table.rows
        assert [c.text for c in given.table.header] == [f"{exits[j].name} said", "n", *(e.name for e in exits)]
        assert len(rows) == len(edges) + 1 > 3
        for row, n, shares in zip(rows, counts, joint.value[j], strict=True):
            assert row[1].text == f"{n}"
            assert [c.text for c in row[2:]] == [f"{100 * v:.1f}%" for v in shares]
            assert [c.strong for c in row[2:]] == [k == j for k in range(len(exits))]
            for cell, share in zip(row[2:], shares, strict=True):
                assert cell.shade == pytest.approx((share - min(values)) / (max(values) - min(values)))
        assert whole[1].text == f"{sum(counts)}"
        for k, cell in enumerate(whole[2:]):
            mean = sum(n * shares[k] for n, shares in zip(counts, joint.value[j], strict=True)) / sum(counts)
            assert cell.text == f"{100 * mean:.1f}%"


def test_buckets_are_told_by_their_edges(read):
    run = read()
    edges = run.manifest.joint.edges[0]
    first, *middle, last, _ = [row[0].text for row in joint_tables(run)[0].table.rows]
    assert first == f"below {100 * edges[0]:.7g}%"
    assert last == f"{100 * edges[-1]:.7g}% or more"
    assert middle[0] == f"{100 * edges[0]:.7g}% to {100 * edges[1]:.7g}%"


def test_in_regression_the_least_error_has_the_strongest_shade(read):
    run = read(task="regression")
    joint = run.manifest.joint
    cells = [c for given in joint_tables(run) for row in given.table.rows[:-1] for c in row[2:]]
    values = [v for rows in joint.value for row in rows for v in row]
    by_value = sorted(zip(values, (c.shade for c in cells), strict=True))
    assert by_value[0][1] == 1 and by_value[-1][1] == 0
    assert [s for _, s in by_value] == sorted((s for _, s in by_value), reverse=True)
    assert "%" not in joint_tables(run)[0].table.rows[0][2].text


def test_a_joint_table_of_one_bucket_or_without_frames(read):
    run = read(exits=((12, "head"),), layers=(12,))
    one = Joint(split="select", edges=((),), n=((30,),), value=(((0.9,),),))
    (given,) = joint_tables(with_(run, joint=one))
    assert texts(given.table) == [["all frames", "30", "90.0%"]]
    hole = Joint(split="select", edges=((0.5,),), n=((0, 30),), value=(((0.0,), (0.9,)),))
    (given,) = joint_tables(with_(run, joint=hole))
    assert texts(given.table) == [
        ["below 50%", "0", "n/a"],
        ["50% or more", "30", "90.0%"],
        ["all frames", "30", "90.0%"],
    ]
    empty = Joint(split="select", edges=((),), n=((0,),), value=(((0.0,),),))
    assert joint_tables(with_(run, joint=empty)) == ()


def test_twelve_exits_have_twelve_diagrams_and_tables(make_run):
    page = page_of(make_run(beliefs=True, frames=None, history=False, **TWELVE))
    choices = [a for tag, a in page.elements if tag == "input" and a["type"] == "radio"]
    assert [a["value"] for a in choices] == [f"given-{k}" for k in range(12)]
    assert [k for k, a in enumerate(choices) if "checked" in a] == [0]
    assert {a["value"] for a in choices} <= page.ids
    drawings = [a for tag, a in page.elements if tag == "svg" and a.get("role") == "img" and a["class"] == "panel"]
    assert len({a["aria-label"] for a in drawings}) == 12
    shades = [a["style"] for tag, a in page.elements if tag == "td" and "style" in a]
    assert shades and all(re.fullmatch(r"--shade:[01]\.\d{3}", s) for s in shades)
    assert len(set(shades)) > 10


def test_the_section_says_what_the_task_calls_for(make_run):
    sure = page_of(make_run(beliefs=True, frames=None, history=False)).plain
    assert "Stated probability and share of right answers, test split" in sure
    assert "share of these frames that each exit answers rightly" in sure
    assert "Interval around an output" not in sure
    near = page_of(make_run(beliefs=True, task="regression", frames=None, history=False)).plain
    assert "Interval around an output" in near
    assert "mean absolute error of each exit on these frames" in near
    assert "share of right answers" not in near
