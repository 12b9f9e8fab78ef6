import json
import re
import sys
import xml.etree.ElementTree as ET

import pytest

from jetson.errors import BadInput, MissingExtra
from tests.bundles import edit_manifest
from tests.toolkit.report.comparisons import made_up
from tests.toolkit.report.pages import Page, page_of
from tests.toolkit.report.records import powered
from toolkit.cli import main
from toolkit.report import profile_tables, readings, write_report
from toolkit.report.data import report_data
from toolkit.report.formats import significant
from toolkit.report.frame_charts import MOST, shown_frames
from toolkit.report.gather import Parts, gather
from toolkit.report.page import HERE, charts, embedded_json
from toolkit.report.profile_tables import circumstances_table, exits_by_profile
from toolkit.report.run_tables import runs_table, used_table

HOSTILE = "</script><script>alert(1)</script>"


def test_all_sections_and_charts(make_run):
    run = make_run(frames=30)
    page = page_of(run)
    assert {"cut", "exits", "profiles", "frames", "training", "provenance"} <= page.ids
    assert {"fig-quality", "fig-latency-0", "fig-outlook-0", "fig-frames-0", "fig-history"} <= page.ids
    assert "Vision Transformer, 12 layers, width 192, 3 exits" in page.plain
    assert "Some Processor 3000" in page.plain
    assert "onnxruntime 1.23.0, 1 thread" in page.plain
    assert "not measured" in page.plain
    assert "decision us" in page.plain
    targets = {a["href"][1:] for tag, a in page.elements if tag == "a"}
    assert targets <= page.ids


def test_what_calibration_found_has_sections(make_run):
    page = page_of(make_run(beliefs=True, int8=True, frames=None))
    assert {"confidence", "precisions"} <= page.ids
    targets = {a["href"][1:] for tag, a in page.elements if tag == "a"}
    assert {"confidence", "precisions"} <= targets <= page.ids


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_older_bundle_has_no_such_sections(make_run, version, task):
    run = make_run(frames=5, task=task)
    edit_manifest(run / "bundle", lambda manifest: make_older(manifest, version))
    page = page_of(run)
    assert {"cut", "exits", "profiles", "frames", "training", "provenance"} <= page.ids
    assert not page.ids & {"confidence", "precisions"}
    assert not any("given-" in name for name in page.ids)


def make_older(manifest, version):
    """Leave out of the manifest what that version did not know."""
    later = {
        "": ("joint", "quantisation", "plans"),
        "exits": ("posterior", "interval", "reliability", "variant_quality"),
        "provenance": ("calibrated",),
    }
    if version == 1:
        later |= {"units": ("variants",), "parity": ("tolerances",)}
        later["exits"] += ("differences",)
    for place, keys in later.items():
        found = manifest[place] if place else manifest
        for record in found if isinstance(found, list) else [found]:
            for key in keys:
                del record[key]
    for exit_ in manifest["exits"]:
        del exit_["quality"][0]["per_class"], exit_["quality"][1]["per_class"]
    manifest["version"] = version


def test_a_run_without_frames_and_training(make_run):
    page = page_of(make_run(frames=None, history=False, data=False))
    assert {"cut", "exits", "profiles", "provenance"} <= page.ids
    assert not page.ids & {"frames", "training", "fig-frames-0", "fig-history"}
    assert "does not say which data" in page.plain


def test_an_interrupted_run_reads_not_available(make_run):
    run = make_run(frames=5)
    lines = (run / "frames.jsonl").read_text().splitlines()
    (run / "frames.jsonl").write_text("\n".join(lines[:-1]))
    page = page_of(run)
    assert "no summary line" in page.plain
    assert "n/a" in page.plain


def test_a_log_without_frames_leaves_the_section_out(make_run):
    assert "frames" not in page_of(make_run(frames=0)).ids


def test_regression_speaks_of_errors(make_run):
    run = make_run(task="regression", frames=10, beliefs=True)
    page = page_of(run)
    text = page.plain
    assert "mean absolute error, test split (lower is better)" in text
    assert "mean absolute error, expected (lower is better)" in text
    assert "Mean absolute error" in text and "is off by" in text
    for word in ("acc@D", "Right and in time", "right of the time", "softmax"):
        assert word not in text
    steps = re.findall(r"[MHV]([\d.]+)", frontier(run))
    assert steps


def frontier(run):
    drawn = ET.fromstring(charts(gather(run))["fig-quality"].drawings[0])
    return next(p.get("d") for p in drawn.iter("path") if p.get("class") == "even")


def test_the_page_asks_nothing_of_a_network(make_run):
    page = page_of(make_run(frames=10))
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "base", "object")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_names_cannot_become_markup(make_run):
    branch = f"branch04-{HOSTILE}"
    run = make_run(
        classes=(HOSTILE, "cat"),
        exits=((4, HOSTILE), (12, "head")),
        checkpoint=f"model/{HOSTILE}",
        frames=10,
        beliefs=True,
        int8=True,
        kept=(branch,),
    )
    rename(run, branch)
    text = write_report(run).read_text(encoding="utf-8")
    assert text.count("<script") == text.replace("<script>alert(1)", "").count("<script")
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 4, "theme, two parts with data, and the driver"
    assert HOSTILE in page.plain
    assert not any("onerror" in a or "onclick" in a for _, a in page.elements)


def rename(run, branch):
    """Let all that the new records call by a name be called by a hostile one."""

    def change(manifest):
        record = manifest["quantisation"]
        record["data"] = record["method"] = record["kept"][0]["reason"] = HOSTILE
        assert record["kept"][0]["unit"] == branch
        manifest["plans"] = {HOSTILE: [u["precision"] for u in manifest["units"]]}
        manifest["joint"]["split"] = HOSTILE
        for exit_ in manifest["exits"]:
            exit_["reliability"][0]["split"] = HOSTILE

    edit_manifest(run / "bundle", change)


def test_embedded_json_cannot_end_its_element():
    text = embedded_json({"a": "</script><!--&\u2028", "nan": float("nan")})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028", "nan": None}


def test_the_same_run_gives_the_same_bytes(make_run, tmp_path):
    run = make_run(frames=10)
    first = write_report(run).read_bytes()
    other = write_report(run, tmp_path / "new" / "page.html")
    assert other == tmp_path / "new" / "page.html"
    assert other.read_bytes() == first


def test_colours_are_the_pages(make_run):
    run = gather(make_run(frames=40, gpu=True))
    for chart in charts(run).values():
        for drawing in chart.drawings:
            assert not re.search(r"#[0-9a-f]{3,6}\b|rgb", drawing)
            assert "var(--exit-0)" in drawing


def test_dark_is_the_same_whoever_asks_for_it():
    css = (HERE / "colours.css").read_text()
    asked, chosen = (re.findall(r"--[a-z0-9-]+: [^;]+;", part) for part in css.split("@media screen")[1:])
    assert asked == chosen and len(asked) > 8


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_marks_stand_out_from_the_page(theme):
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for what pictures mean."""
    parts = (HERE / "colours.css").read_text().split("@media screen")
    colours = dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", parts[0]))
    if theme == "dark":
        colours |= dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", parts[1]))
    for behind in ("--page", "--surface"):
        for words in ("--ink", "--muted", "--link"):
            assert contrast(colours[words], colours[behind]) >= 4.5, (words, behind)
        for name in colours:
            if name.startswith("--exit-") or name == "--segment":
                assert contrast(colours[name], colours[behind]) >= 3.0, (name, behind)


def contrast(one, other):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_fourteen_exits_look_different(make_run):
    exits = (*((n, "mlp") for n in range(1, 12)), (6, "vit"), (7, "vit"))
    run = gather(make_run(layers=tuple(range(1, 13)), exits=(*sorted(exits), (12, "head")), frames=None))
    looks = {(s.colour, s.path, s.dash) for s in run.styles.values()}
    assert len(looks) == len(run.manifest.exits) == 14


def test_many_frames_are_thinned_and_late_ones_kept(make_run):
    run = make_run(frames=13_000, history=False)
    log = gather(run).logs[0].log
    shown = shown_frames(log)
    assert MOST / 2 < len(shown) < 2 * MOST
    assert sum(f.late for f in shown) == sum(f.late for f in log.frames)
    page = page_of(run)
    assert "13,000 frames are thinned" in page.plain
    assert "unsafe-eval" not in next(a["content"] for _, a in page.elements if a.get("http-equiv"))


def test_a_page_is_small(make_run):
    assert write_report(make_run(frames=300, beliefs=True, int8=True)).stat().st_size < 500_000


@pytest.mark.parametrize("kept", [("profile.json",), ("frames.jsonl",), ("bundle",), ("profile.json", "frames.jsonl")])
def test_any_part_makes_a_page(make_run, tmp_path, kept):
    run, folder = make_run(frames=30, history=False), tmp_path / "part"
    folder.mkdir()
    for name in kept:
        (run / name).rename(folder / name)
    page = page_of(folder)
    assert ("profiles" in page.ids) is ("profile.json" in kept)
    assert ("frames" in page.ids) is ("frames.jsonl" in kept)
    assert ("exits" in page.ids) is ("bundle" in kept)
    assert "plan" not in page.ids
    assert {a["href"][1:] for tag, a in page.elements if tag == "a"} <= page.ids


def test_profiles_stand_beside_one_another(make_run):
    run = make_run(frames=None, history=False)
    powered(run, "profile-15w.json", power_w=9.5, scale=2.0, power_mode="15W")
    page = page_of(run)
    assert {"fig-profiles", "fig-outlook-1", "fig-latency-1", "outlook-1"} <= page.ids
    table = exits_by_profile(gather(run))
    assert [c.text for c in table.header] == ["Exit", "profile", "15W", "Energy", "Energy"]
    mean = gather(run).profiles[1].profile.exits[0].end_to_end_ms.mean
    assert [c.text for c in table.rows[0][3:]] == ["not measured", f"{significant(9.5 * mean)} mJ"]
    assert "2.0×" in table.rows[0][2].note
    assert "41.5 °C → not measured" in page.plain and "9.50 W" in page.plain
    assert "Energy: not measured" in page_of(make_run(frames=None)).plain


def test_what_the_device_tells_more_is_shown(make_run, monkeypatch):
    """Formats grow; a field that is not in this version's profile stands for one."""
    run = gather(make_run(frames=None, history=False))
    assert circumstances_table(run) is None
    exit_ = run.profile.exits[0]
    told = [("cold", "the first inference after loading", {exit_.name: 3.5})]
    monkeypatch.setattr(profile_tables, "circumstances", lambda _profile: told)
    rows = circumstances_table(run).rows
    assert [[c.text for c in row[:3]] for row in rows][1] == ["cold", "3.50 ms", "n/a"]
    assert readings.reading_name("gpu_mhz") == "GPU clock"
    assert readings.reading_name("fan_percent") == "Fan" and readings.reading("fan_percent", 40) == "40%"
    assert readings.reading("power_w", None) == "not measured"


def test_runs_stand_beside_one_another(make_run):
    run, other = make_run(frames=30, task="regression"), make_run(frames=12, task="regression")
    (other / "frames.jsonl").rename(run / "frames-busy.jsonl")
    page = page_of(run)
    assert {"run-0", "run-1", "fig-frames-1"} <= page.ids
    rows = runs_table(gather(run)).rows
    assert [(r[0].text, r[1].text) for r in rows] == [("frames", "30"), ("busy", "12")]
    assert used_table(gather(run), gather(run).logs[0].log).header[-1].text == "Mean error"


def test_the_data_behind_a_page_is_plain(make_run):
    run = gather(make_run(frames=20, beliefs=True, int8=True))
    found = json.loads(json.dumps(report_data(run, made_up()), allow_nan=False))
    assert [e["name"] for e in found["bundle"]["exits"]] == list(run.names)
    assert found["bundle"]["exits"][0]["calibration"][0]["error_after"] is not None
    assert found["profiles"][0]["exits"][0]["energy_mj"] is None
    assert len(found["budgets"][0]["explained"]) == 3
    assert found["runs"][0]["summary"]["frames"] == 20
    assert set(found["policies"]["scenarios"]) == set(made_up().scenarios)
    assert report_data(gather(None, Parts(profiles=[run.path / "profile.json"])))["bundle"] is None


def test_an_absent_package_names_its_extra(make_run, monkeypatch):
    package = "jinja2"
    run = make_run(frames=None)
    for module in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=package + r" is not installed: pip install 'offramp\[report\]'"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_nothing_is_written_where_there_is_no_run(tmp_path):
    with pytest.raises(BadInput):
        write_report(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_data_behind_the_page(make_run, capsys):
    run = make_run(frames=3)
    assert main(["report", str(run), "--no-comparison", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["bundle"] and not (run / "report.html").exists()
