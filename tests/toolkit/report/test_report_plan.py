"""The planner's section: its table and its pictures."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jetson.scheduling.planner import Planner
from jetson.scheduling.rules import ADVANCE, STOP
from tests.jetson.scheduling.planning import made
from tests.toolkit.report.pages import page_of
from toolkit.report.gather import gather
from toolkit.report.page import plan
from toolkit.report.plan_page import one_page, one_svg, section
from toolkit.report.plan_picture import LEFT, WIDTH, Scale, draw_panel
from toolkit.report.plan_view import plan_table, plan_view, remarks, usual_budgets


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    bundle, profile, samples = made(tmp_path_factory.mktemp("plan") / "bundle")
    return Planner(bundle.manifest, profile, {"fit": samples, "select": samples}, confidence=True)


def test_the_report_has_the_section(make_run):
    page = page_of(make_run(frames=None))
    assert "plan" in page.ids and ("a", {"href": "#plan"}) in page.elements
    assert "What it does when" in page.plain and "Nothing in hand" in page.plain
    assert "The planner does not look at answers" in page.plain


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_three_budgets_across_the_range(make_run, task):
    run = gather(make_run(frames=None, task=task))
    budgets = usual_budgets(run.profile)
    ends = [e.end_to_end_ms.quantile(0.95) for e in run.profile.exits]
    assert len(budgets) == 3 and min(ends) < budgets[0] < budgets[1] < budgets[2] and max(ends) < budgets[2]
    found = plan(run)
    assert [row[0].text for row in found.table.rows] == [f"{ms:.4g} ms" for ms in budgets]
    assert found.table.header[2].text == ("Right in time" if task == "classification" else "Mean absolute error")


def test_the_table_holds_what_is_told(planner):
    view = plan_view(planner, [0.9, 2.4])
    table = plan_table(view)
    for row, told in zip(table.rows, view.told, strict=True):
        shares = [float(c.text.split()[-2]) for c in row[6:] if "%" in c.text]
        assert sum(shares) == pytest.approx(100.0, abs=0.5)
        assert row[1].text == f"{told.value:.3f}" and len(row) == len(table.header)
    names = [c.text for c in table.header[6:]]
    idle = [e.name for e in view.manifest.exits if e.name not in names]
    assert all(name in table.caption for name in idle)
    assert any("held-out frames, a look was worth" in words for words in remarks(view))


def runs(element, kind):
    return [r for r in element.iter("rect") if r.get("class") == kind]


@pytest.mark.parametrize("hidden", [False, True])
def test_a_panel_draws_the_actions_where_they_are(planner, hidden):
    view = plan_view(planner, [0.9, 2.4], hidden)
    scale = Scale(view)
    for panel in view.panels:
        drawn = draw_panel(view, panel)
        for kind, seen in (("on", ADVANCE), ("stop", STOP)):
            inside = view.grid.times_ms >= scale.low
            assert bool(runs(drawn, kind)) == bool((panel.actions[:, inside] == seen).any())
        rows = (panel.actions != -3).any(axis=1).sum()
        # Every row is filled from one end of the axis to the other.
        wide = sum(float(r.get("width")) for r in drawn.iter("rect"))
        assert wide == pytest.approx(WIDTH * rows, abs=0.06 * len(list(drawn.iter("rect"))))
        assert all(LEFT <= float(r.get("x")) <= LEFT + WIDTH for r in drawn.iter("rect"))


def test_lines_begin_at_their_budgets(planner):
    view = plan_view(planner, [0.9, 2.4])
    drawn = draw_panel(view, view.panels[0])
    starts = [float(p.get("d")[1:].split()[0]) for p in drawn.iter("path") if p.get("class") == "way"]
    scale = Scale(view)
    assert starts == pytest.approx([scale.x(ms - view.grid.panels[0].spent_ms[0]) for ms in (0.9, 2.4)], abs=0.1)
    assert [t.text for t in drawn.iter("text") if t.get("class") == "budget"] == ["0.9", "2.4 ms"]


def test_panels_of_what_is_in_hand_come_first(planner):
    view = plan_view(planner, [0.9, 2.4])
    held = {step.in_hand for told in view.told for step in told.steps}
    names = [None if p.exit is None else view.manifest.exits[p.exit].name for p in view.panels]
    assert all(name in held for name in names[: view.likely])
    assert not any(name in held for name in names[view.likely :])
    drawn = section(view)
    assert len(drawn.panels) == view.likely and len(drawn.panels) + len(drawn.more) == len(view.panels)


def test_more_exits_than_colours_are_marked(make_run):
    exits = tuple((n, "mlp") for n in range(1, 12))
    few, many = (
        gather(make_run(frames=None, layers=tuple(range(1, 13)), exits=(*e, (12, "head")))) for e in (exits[:3], exits)
    )
    assert not plan(few).marked and 'class="mark"' not in plan(few).panels[0].drawing
    assert plan(many).marked and 'class="mark"' in plan(many).panels[0].drawing


def test_a_device_that_is_slower_is_spoken_of(planner):
    before = planner.memory.copy()
    planner.memory[0] = np.log(1.3)
    try:
        view = plan_view(planner, [0.7])
    finally:
        planner.memory[:] = before
    said = " ".join(remarks(view))
    assert "1.3 times as slow" in said and "Not to be relied on, since even the quickest exit may need longer" in said


@pytest.mark.parametrize("hidden", [False, True])
def test_pictures_are_whole_and_ask_nothing_of_a_network(planner, hidden):
    view = plan_view(planner, [0.9, 2.4], hidden)
    hostile = "</title><script>alert(1)</script>"
    page, picture = one_page(view, hostile), one_svg(view, hostile)
    assert "<script" not in page and "<script" not in picture
    assert "default-src 'none'" in page and not re.search(r'(src|href)="', page)
    root = ET.fromstring(picture)
    assert root.get("aria-label") == hostile
    for told in view.told:
        assert all(step.words in page.replace("&lt;", "<") for step in told.steps)
