"""The benchmark of growth: laws are found, and pictures and table show them."""

import json
import re
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.cost import growth, growth_plot, record
from benchmarks.cost.growth import AXES, PICTURES, at, law, written
from benchmarks.pictures import IMAGES
from jetson.errors import BadInput, MissingExtra
from jetson.files import sha256_file

NAMESPACE = "{http://www.w3.org/2000/svg}"


def made_up(folder):
    """Figures that follow laws; the file."""
    figures = {}
    for name, axis in AXES.items():
        x = [axis.x(v) for v in axis.default]
        ms = [[0.9 * m, m, 1.2 * m] for m in (2.0 + 3.0 * np.array(x)).tolist()]
        found = {"x": x, "ms": ms, "mib": (50.0 + np.array(x)).tolist()} | ({"all_ms": ms} if name == "exits" else {})
        found["laws"] = {s: law(x, growth.middle(found[s]), axis.power) for s in growth.SERIES if s in found}
        figures[name] = found
    content = {"name": "growth", "settings": {"size": "tiny", "rounds": 5}, "figures": figures}
    file = folder / "cost-growth.json"
    file.write_text(json.dumps(content | {"machine": {"processor": "abacus", "cores": 2}}))
    return file


def test_a_law_is_found_again():
    x = np.array([50, 101, 197, 325, 577])
    found = law(x, 5 + 0.2 * x + 3e-4 * x**2, 2)
    assert found["terms"] == pytest.approx([5, 0.2, 3e-4]) and found["off"] < 1e-9
    assert at(found, 200) == pytest.approx(5 + 40 + 12)
    bent = law(x, 5 + 0.2 * x + 3e-4 * x**2, 1)
    assert len(bent["terms"]) == 2 and 0.05 < bent["off"] < 1
    assert len(law([1, 2], [3.0, 4.0], 2)["terms"]) == 2, "two cases have no curve"
    assert law([4], [3.0], 2)["terms"] == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("terms", "words"),
    [([1.5], "1.5"), ([1.0, 2.0], "1 + 2 n"), ([-1.0, 0.25, -3e-5], "-1 + 0.25 n - 3e-05 n²")],
)
def test_a_law_in_words(terms, words):
    assert written({"terms": terms}) == words


def test_the_table_has_every_figure_its_law_and_both_pictures(tmp_path):
    text = growth.table(record.read(made_up(tmp_path)))
    assert text.count("2 + 3 n |") == 4 and "| layers n | memory, MiB | 3: 53, 6: 56" in text
    assert re.findall(r"\]\((.*)\)", text) == [f"images/growth-{name}.svg" for name in PICTURES]


def test_the_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install '.[bench]'")
    file = made_up(tmp_path)
    assert growth_plot.main([str(file), "--out", str(tmp_path)]) == 0
    for which in PICTURES:
        svg = growth_plot.picture(tmp_path, which).read_text()
        assert f"sha256 {sha256_file(file)}" in svg and len(svg.encode()) < 100_000
        texts = {"".join(t.itertext()).strip() for t in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text")}
        assert {axis.title for axis in AXES.values()} < texts
        assert ("2 + 3 n" in texts) == (which == "latency") and ("50 + 1 n" in texts) == (which == "memory")
    assert capsys.readouterr().out.count("-> ") == 2


def test_what_cannot_be_drawn_is_one_line(tmp_path, monkeypatch, capsys):
    assert growth_plot.main([str(tmp_path / "cost-growth.json")]) == BadInput.exit_code
    assert "make it with: python -m benchmarks.cost.growth\n" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert growth_plot.main([str(made_up(tmp_path)), "--out", str(tmp_path)]) == MissingExtra.exit_code


def test_the_pictures_of_the_page_show_its_figures():
    file = record.RESULTS / "cost-growth.json"
    if not file.exists():
        pytest.skip("cost-growth.json is not there; make it with: python -m benchmarks.cost.growth")
    for which in PICTURES:
        assert f"sha256 {sha256_file(file)}" in growth_plot.picture(IMAGES, which).read_text()


@pytest.mark.slow
def test_a_tiny_run_keeps_its_models(monkeypatch, tmp_path, capsys):
    pytest.importorskip("torch")
    out, bundles = tmp_path / "cost-growth.json", tmp_path / "models"
    words = f"--rounds 2 --exits 0 1 --image --depth 3 --streams --bundles {bundles} --out {out}".split()
    apart = record.in_process
    # A process of its own for every export imports PyTorch anew, ten seconds each.
    beside = {"in_process": lambda f, *a: f(*a) if f is growth.export else apart(f, *a)}
    monkeypatch.setattr(growth, "record", SimpleNamespace(**(vars(record) | beside)))
    monkeypatch.setattr(growth, "PROCESSES", 1)
    monkeypatch.setattr(growth.Case.__new__, "__defaults__", (0, 32, 2, 1))
    monkeypatch.setattr(sys, "argv", ["growth", *words])
    growth.main()
    figures = record.read(out).figures
    assert (
        list(figures) == ["exits", "depth"] and figures["exits"]["x"] == [0, 1] and len(figures["exits"]["all_ms"]) == 2
    )
    low, middle, high = figures["depth"]["ms"][0]
    assert 0 < low <= middle <= high and all(mib > 0 for mib in figures["exits"]["mib"])
    assert "exporting tiny-1-32-2" in capsys.readouterr().err
    assert sorted(p.name for p in bundles.iterdir()) == ["tiny-0-32-2", "tiny-0-32-3", "tiny-1-32-2"]
    assert str(bundles) not in record.command(record.read(out))
