import json
import re
import sys

import pytest

from jetson.errors import BadInput, MissingExtra
from tests.bundles import edit_manifest
from tests.toolkit.report.pages import Page, page_of
from toolkit.cli import main
from toolkit.report import write_report
from toolkit.report.gather import gather
from toolkit.report.page import charts, embedded_json

HOSTILE = "</script><script>alert(1)</script>"


def test_all_sections_and_charts(make_run):
    run = make_run(frames=30)
    page = page_of(run)
    assert {"cut", "exits", "latency", "frames", "training", "provenance"} <= page.ids
    assert {"fig-quality", "fig-latency", "fig-frames", "fig-used", "fig-history"} <= page.ids
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
    assert {"cut", "exits", "latency", "frames", "training", "provenance"} <= page.ids
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
    assert {"cut", "exits", "latency", "provenance"} <= page.ids
    assert not page.ids & {"frames", "training", "fig-frames", "fig-used", "fig-history"}
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


def test_regression_says_that_lower_is_better(make_run):
    run = gather(make_run(task="regression", frames=10))
    chart = charts(run)["fig-quality"]
    assert chart.layout["yaxis"]["title"]["text"] == "mean absolute error, test split (lower is better)"
    frontier = chart.data[0]
    assert frontier["y"] == sorted(frontier["y"], reverse=True)


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
    assert [tag for tag, _ in page.elements].count("script") == 3
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


def test_colours_are_names_until_the_browser_knows_the_scheme(make_run):
    run = gather(make_run(frames=40, gpu=True))
    for chart in charts(run).values():
        text = embedded_json(chart.spec())
        assert not re.search(r"#[0-9a-f]{6}", text)
    dots = [t for t in charts(run)["fig-frames"].data if t["legendgroup"].startswith("exit-")]
    assert {t["marker"]["color"] for t in dots} <= {s.colour for s in run.styles.values()}


def test_fourteen_exits_look_different(make_run):
    exits = (*((n, "mlp") for n in range(1, 12)), (6, "vit"), (7, "vit"))
    run = gather(make_run(layers=tuple(range(1, 13)), exits=(*sorted(exits), (12, "head")), frames=None))
    looks = {(s.colour, s.symbol, s.dash) for s in run.styles.values()}
    assert len(looks) == len(run.manifest.exits) == 14


def test_plotly_knows_every_attribute(make_run):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    run = gather(make_run(frames=40, gpu=True))
    for chart in charts(run).values():
        spec = json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "black", embedded_json(chart.spec())))
        graph_objects.Figure(data=spec["data"], layout=spec["layout"])


def test_many_frames_are_drawn_with_webgl(make_run):
    run = make_run(frames=3001, history=False)
    kinds = {t["type"] for t in charts(gather(run))["fig-frames"].data}
    assert kinds == {"scattergl"}
    page = page_of(run)
    assert "drawn with WebGL" in page.plain
    assert "unsafe-eval" in next(a["content"] for _, a in page.elements if a.get("http-equiv"))


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_an_absent_package_names_its_extra(make_run, monkeypatch, package):
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


def test_the_command_says_in_json_what_it_wrote(make_run, capsys):
    run = make_run(frames=3)
    assert main(["report", str(run), "--no-comparison", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    file = run / "report.html"
    assert json.loads(line) == {"report": str(file), "size_bytes": file.stat().st_size}
