"""`offramp plan`: figures, reasons and pictures, and what it refuses before any work."""

import json
import re
import sys
import xml.etree.ElementTree as ET

import msgspec
import numpy as np
import pytest

from jetson.scheduling.explain import explain
from jetson.scheduling.planner import Planner
from jetson.scheduling.trace import FrameBudget, save_trace
from tests.bundles import fake_profile, tiny_bundle
from tests.jetson.scheduling.planning import made
from toolkit.cli import main
from toolkit.cli.plan_text import text_picture
from toolkit.report.plan_view import plan_view

WORDS = ("bundle", "--profile", "profile.json")


@pytest.fixture
def here(tmp_path, monkeypatch):
    bundle, profile, _ = made(tmp_path / "bundle")
    profile.save(tmp_path / "profile.json")
    monkeypatch.chdir(tmp_path)
    return bundle, profile


def run(capsys, *words):
    code = main(["plan", *words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_a_table_reasons_and_a_picture(here, capsys):
    code, out, err = run(capsys, *WORDS, "--budget-ms", "0.9,1.4,2.4")
    assert code == 0 and err == ""
    for words in ("0.9 ms", "1.4 ms", "2.4 ms", "Right in time", "Late", "held-out frames, a look was worth"):
        assert words in out, words
    assert "budget 0.9 ms: " in out and "at the start, 0.850 ms left, nothing in hand: going on is worth" in out
    lines = out.splitlines()
    first = lines.index("Nothing in hand")
    assert [line.split()[0] for line in lines[first + 1 : first + 5]] == ["start", "layer", "layer", "layer"]
    assert set(lines[first + 1].removeprefix("start").strip()) == {"-"}
    assert any(line.startswith("ms left") for line in lines)


def test_the_picture_of_text_is_what_the_planner_does(here):
    bundle, profile = here
    planner = Planner.of(bundle, profile, confidence=True)
    lines = text_picture(plan_view(planner, [0.9, 2.4]), 60)
    assert max(map(len, lines[2:])) <= 90 and lines[0].startswith("- go on; 1 run 2:mlp; ")
    row = next(line for line in lines if line.startswith("layer 6"))
    assert set(row.removeprefix("layer 6").strip()) == {"4"}
    held = [line for line in lines if " in hand, least sure (" in line]
    assert held and all("% right)" in line for line in held)


def test_figures_are_those_of_the_planner(here, capsys):
    bundle, profile = here
    code, out, _ = run(
        capsys, *WORDS, "--budget-ms", "0.9,2.4", "--json", "--price-per-ms", "0.05", "--slowdown", "1.5"
    )
    data = json.loads(out)
    assert code == 0 and data["slowdown"] == pytest.approx(1.5) and data["price_per_ms"] == 0.05
    first, second = data["budgets"]
    assert (first["budget_ms"], second["budget_ms"]) == (0.9, 2.4)
    assert first["worth"] < second["worth"] and sum(e["in_time"] + e["late"] for e in first["exits"]) == pytest.approx(
        1
    )
    plain = json.loads(run(capsys, *WORDS, "--budget-ms", "0.9", "--json")[1])
    assert plain["budgets"][0] == json.loads(json.dumps(explain(Planner.of(bundle, profile), 0.9).to_dict()))


def test_budgets_nobody_names(here, capsys):
    code, out, err = run(capsys, *WORDS, "--json")
    assert code == 0 and "no budgets given" in err
    budgets = [b["budget_ms"] for b in json.loads(out)["budgets"]]
    assert len(budgets) == 3 and budgets == sorted(budgets) and 0.6 < budgets[0] < budgets[2] < 4.0
    slower = json.loads(run(capsys, *WORDS, "--json", "--slowdown", "2")[1])["budgets"]
    assert [b["budget_ms"] for b in slower] == pytest.approx([2 * ms for ms in budgets])
    code, out, err = run(capsys, *WORDS, "--hidden")
    assert code == 0 and err == "" and "unknown budget: " in out and "ms passed" in out


def test_hidden_budgets(here, capsys):
    _, out, _ = run(capsys, *WORDS, "--hidden", "--budget-ms", "0.9", "--json")
    data = json.loads(out)
    assert data["hidden"] and not data["budgets"][0]["told"] and data["budgets"][0]["budget_ms"] == 0.9
    _, out, _ = run(capsys, *WORDS, "--hidden", "--budget-ms", "0.9", "--miss-rate", "0.05")
    assert "0.9 ms, not told" in out and "speaks of budgets that are told" in out


def test_hidden_budgets_like_those_of_a_trace(here, tmp_path, capsys):
    """All end at about one moment: the planner waits for the best answer before it, and takes none on the way."""
    save_trace(tmp_path / "trace.csv", [FrameBudget(5.0 * i, 2.0 + 0.01 * (i % 7)) for i in range(400)])
    before = json.loads(run(capsys, *WORDS, "--hidden", "--json")[1])["budgets"][0]
    code, out, _ = run(capsys, *WORDS, "--hidden", "--like", "trace.csv", "--json")
    now = json.loads(out)["budgets"][0]
    assert code == 0 and now["branches"] < before["branches"] and now["worth"] > before["worth"]


def test_a_price_of_energy(here, tmp_path, capsys):
    """A device that draws 2 W: a millijoule is half a millisecond."""
    _, profile = here
    code, _, err = run(capsys, *WORDS, "--budget-ms", "2", "--price-per-mj", "0.1")
    assert code == 2 and "the profile does not know the power that the device draws" in err
    msgspec.structs.replace(profile, power_w=2.0).save(tmp_path / "profile.json")
    of_energy = run(capsys, *WORDS, "--budget-ms", "2", "--price-per-mj", "0.1", "--json")
    of_time = run(capsys, *WORDS, "--budget-ms", "2", "--price-per-ms", "0.2", "--json")
    assert of_energy == of_time and json.loads(of_time[1])["price_per_ms"] == 0.2


def test_a_promise(here, capsys):
    _, out, _ = run(capsys, *WORDS, "--miss-rate", "0.005", "--json", "--budget-ms", "2")
    data = json.loads(out)
    assert data["miss_rate"] == 0.005 and data["tau"] >= 1.0
    code, _, err = run(capsys, *WORDS, "--miss-rate", "0.00001")
    assert code == 2 and "cannot be promised from a profile of 2000 rounds" in err and err.count("\n") == 1


def test_regression_speaks_of_errors(tmp_path, monkeypatch, capsys):
    _, profile, _ = made(tmp_path / "bundle", "regression")
    profile.save(tmp_path / "profile.json")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, *WORDS, "--budget-ms", "2", "--out", "plan.svg")
    assert code == 0 and "Mean absolute error" in out and "mean absolute error" in out
    assert "Right in time" not in out


def test_a_bundle_without_answers(tmp_path, monkeypatch, capsys):
    fake_profile(tiny_bundle(tmp_path / "bundle")).save(tmp_path / "profile.json")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, *WORDS, "--budget-ms", "3")
    assert code == 0 and "the bundle records none that could be replayed" in out


def test_a_profile_of_another_device_serves(here, capsys):
    _, profile = here
    board = msgspec.structs.replace(profile.device, board="some board", processor="another")
    msgspec.structs.replace(profile, device=board).save("profile.json")
    assert run(capsys, *WORDS, "--budget-ms", "1")[0] == 0


@pytest.mark.parametrize("name", ["plan.svg", "deeper/plan.html", "PLAN.SVG"])
@pytest.mark.parametrize("hidden", [(), ("--hidden",)])
def test_one_file_that_holds_all(here, tmp_path, capsys, name, hidden):
    code, _, err = run(capsys, *WORDS, "--budget-ms", "0.9,2.4", *hidden, "--out", name)
    assert code == 0 and err == f"plan -> {name}\n"
    text = (tmp_path / name).read_text()
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)|<script|\burl\(", text)
    assert "What the planner does: bundle" in text and "run 6:head" in text
    assert [p.name for p in (tmp_path / name).parent.iterdir() if p.name.endswith((".part", ".tmp"))] == []
    if name.lower().endswith("svg"):
        root = ET.fromstring(text)
        width, height = (float(root.get(side)) for side in ("width", "height"))
        assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
        for inner in root.iter("{http://www.w3.org/2000/svg}svg"):
            if inner is not root:
                assert float(inner.get("x")) + float(inner.get("width")) <= width
                assert float(inner.get("y")) + float(inner.get("height")) <= height
    again = (tmp_path / name).read_bytes()
    run(capsys, *WORDS, "--budget-ms", "0.9,2.4", *hidden, "--out", name)
    assert (tmp_path / name).read_bytes() == again


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--budget-ms", "nan"), "a budget cannot be NaN"),
        (("--budget-ms", "5,-1"), "a budget cannot be negative (-1 ms)"),
        (("--budget-ms", "soon"), "--budget-ms 'soon': give milliseconds, several with commas"),
        (("--budget-ms", ""), "give milliseconds"),
        (("--out", "plan.png"), "plan.png: give a name that ends in .html or .svg"),
        (("--out", "plan"), "plan: give a name that ends in .html or .svg"),
        (("--slowdown", "0"), "--slowdown: a device is 0.01 to 100 times as slow, not 0"),
        (("--slowdown", "nan"), "--slowdown: a device is 0.01 to 100 times as slow, not nan"),
        (("--price-per-ms", "nan"), "the price of a millisecond is 0 or more, not nan"),
        (("--price-per-ms", "-1"), "the price of a millisecond is 0 or more, not -1"),
        (("--price-per-mj", "inf"), "the price of a millijoule is 0 or more, not inf"),
        (("--like", "trace.csv"), "--like says what budgets that nobody tells are like: give --hidden too"),
        (("--hidden", "--like", "trace.csv"), "trace.csv: no such budget trace"),
        (("--miss-rate", "1"), "Invalid value for '--miss-rate'"),
        (("--miss-rate", "nan"), "a promised miss rate lies between 0 and 1"),
        (("--late", "never"), "Invalid value for '--late'"),
    ],
)
def test_what_is_refused_before_any_work(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "nothing", "--profile", "nothing.json", *words)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert err.startswith("offramp plan: ") and says in err and list(tmp_path.iterdir()) == []


def test_a_profile_of_another_bundle(here, tmp_path, capsys):
    other = tiny_bundle(tmp_path / "other", seed=3)
    fake_profile(other).save(tmp_path / "other.json")
    code, out, err = run(capsys, "bundle", "--profile", "other.json", "--out", "plan.svg")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert "measured on bundle" in err and not (tmp_path / "plan.svg").exists()


def test_a_page_needs_jinja2(here, tmp_path, monkeypatch, capsys):
    for module in [m for m in sys.modules if m == "jinja2" or m.startswith("jinja2.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, out, err = run(capsys, *WORDS, "--budget-ms", "1", "--out", "plan.html")
    assert code == 2 and out == "" and "jinja2 is not installed: pip install 'offramp[report]'" in err
    assert run(capsys, *WORDS, "--budget-ms", "1", "--out", "plan.svg")[0] == 0
    assert np.size(list(tmp_path.glob("plan.*"))) == 1
