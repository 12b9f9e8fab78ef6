"""The tables of docs/results.md: what stands in them, and that only they are rewritten."""

import argparse
import re

import pytest

from benchmarks import strategies_table, tables
from benchmarks.paper import tables as paper
from benchmarks.paper.summary import load
from jetson.errors import BadInput
from tests.benchmarks.results import made_up, write

PAGE = """# Title

Prose with <b>tags</b>, a table | of its own, and `<!-- begin: -->`.

<!-- begin: cifar10-quality -->
<!-- end: cifar10-quality -->
between\ttwo
<!-- begin: counting-probe -->

old
<!-- end: counting-probe -->

the end
"""


@pytest.fixture
def place(tmp_path):
    """A page with two blocks, and the results for both."""
    (tmp_path / "page.md").write_text(PAGE)
    write(tmp_path / "results", "cifar10", made_up())
    write(tmp_path / "results", "counting", made_up(1, "regression"))
    return tmp_path


def run(place, *words):
    return tables.main([*words, "--page", str(place / "page.md"), "--results", str(place / "results")])


def outside(text):
    return re.sub(r"(<!-- begin: (\S+) -->).*?(<!-- end: \2 -->)", r"\1\3", text, flags=re.DOTALL)


def block(place, name):
    return tables.blocks((place / "page.md").read_text())[name]


def cells(table):
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_blocks_are_written_and_prose_is_left(place, capsys):
    assert run(place) == 0
    assert capsys.readouterr().out == "cifar10-quality: written\ncounting-probe: written\n"
    text = (place / "page.md").read_text()
    assert outside(text) == outside(PAGE) and "\nold\n" not in text
    assert run(place, "--check") == 0 and run(place) == 0
    assert (place / "page.md").read_text() == text and capsys.readouterr().out == ""


def test_only_the_named_blocks_are_written(place):
    assert run(place, "cifar10-quality") == 0
    assert "\nold\n" in (place / "page.md").read_text() and block(place, "cifar10-quality")
    (place / "page.md").write_text(PAGE)
    assert run(place, "counting") == 0
    assert block(place, "cifar10-quality") == "" and "\nold\n" not in block(place, "counting-probe")


def test_check_names_what_is_stale_and_writes_nothing(place, capsys):
    run(place)
    good = (place / "page.md").read_text()
    number = re.search(r"\d\.\d", block(place, "cifar10-quality").rpartition("| 3 |")[2])[0]
    head, _, tail = good.rpartition("<!-- end: cifar10-quality -->")
    spoilt = number[::-1].join(head.rsplit(number, 1)) + "<!-- end: cifar10-quality -->" + tail
    assert spoilt != good
    (place / "page.md").write_text(spoilt)
    capsys.readouterr()
    assert run(place, "--check") == 1
    assert capsys.readouterr().out == "cifar10-quality: is not what the results give\n"
    assert (place / "page.md").read_text() == spoilt
    (place / "page.md").write_text(good)
    write(place / "results", "counting", made_up(2, "regression"))
    assert run(place, "--check") == 1 and run(place, "--check", "cifar10") == 0
    assert capsys.readouterr().out == "counting-probe: is not what the results give\n"


def test_absent_results_name_the_command_and_the_rest_is_written(place, capsys):
    (place / "results" / "counting.json").unlink()
    assert run(place) == 2 and run(place, "--check") == 2
    out, err = capsys.readouterr()
    assert out == "cifar10-quality: written\n" and "\nold\n" in (place / "page.md").read_text()
    command = "python -m benchmarks.paper --data counting --backbone DIRECTORY --work WORK --out"
    assert f"counting.json is not there; make it with: {command} benchmarks/results/counting.json\n" in err


@pytest.mark.parametrize(
    ("page", "words", "says"),
    [
        (PAGE, ["nonsense"], "the page has no block nonsense"),
        (PAGE.replace("cifar10-quality", "cifar10-colour"), [], "nothing makes the block cifar10-colour"),
        (PAGE.replace("<!-- end: counting-probe -->", ""), [], "needs one begin and one end"),
        (PAGE + PAGE, [], "needs one begin and one end"),
        (PAGE.replace("old", "<!-- begin: a-b -->\n<!-- end: a-b -->"), [], "no other block in between"),
    ],
)
def test_a_page_that_cannot_be_is_one_line(place, capsys, page, words, says):
    (place / "page.md").write_text(page)
    assert run(place, *words) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and err.count("\n") == 1
    assert (place / "page.md").read_text() == page


def test_every_table_begins_with_its_commands(place):
    names = [f"{experiment}-{part}" for experiment in ("cifar10", "counting") for part in paper.TABLES]
    made = {name: tables.REGISTRY[name](place / "results") for name in names}
    assert len(made) == 10
    for name, text in made.items():
        first, empty, *_ = text.splitlines()
        assert f"`python -m benchmarks.tables {name}`" in first and empty == ""
        data = "cifar10:FILE" if name.startswith("cifar10") else "counting"
        options = "--branches mlp cnn-add vit:hidden=96 --layers 1 2 3"
        out = f"--work WORK --out benchmarks/results/{name.partition('-')[0]}.json"
        assert f"`python -m benchmarks.paper --data {data} --backbone DIRECTORY {options} {out}`" in first
        assert len({len(row) for row in cells(text)}) == 1, "as many cells in every row"


def test_quality_has_means_spreads_and_the_frontier_in_bold(place):
    summary = load(place / "results" / "cifar10.json")
    header, _, *rows = cells(tables.REGISTRY["cifar10-quality"](place / "results"))
    assert header == ["after layer", "mlp", "cnn-add", "vit hidden=96", "head", "linear probe"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4 (final)"]
    vit = summary.at(2)[2]
    assert rows[1][3].strip("*") == f"{100 * vit.test.mean:.1f} ± {100 * vit.test.std:.1f}"
    assert rows[1][4] == "" and rows[3][1:4] == ["", "", ""] and rows[1][5] == f"{100 * summary.probe[2]:.1f}"
    bold = {(row[0].split()[0], header[i]) for row in rows for i, cell in enumerate(row) if cell.startswith("**")}
    assert bold == {(str(e.layer), e.branch.replace(":", " ")) for e in summary.frontier}


def test_one_seed_has_no_spread(place):
    write(place / "results", "cifar10", made_up(seeds=(4,)))
    text = tables.REGISTRY["cifar10-frontier"](place / "results")
    assert "±" not in text and "one seed" in text and "--seeds 4 " in text


def test_regression_is_in_the_targets_units(place):
    summary = load(place / "results" / "counting.json")
    text = tables.REGISTRY["counting-probe"](place / "results")
    assert "lower is better. Always answering the mean: 2.25." in text
    (_, _, half, final) = cells(text)
    best = min(summary.at(2), key=lambda e: e.calibration.mean)
    assert half[0] == "half depth, layer 2" and half[1] == f"`{best.name}`"
    assert half[4] == f"{best.test.mean - summary.probe[2]:+.2f}"
    assert final[2] == f"{summary.head.test.mean:.2f} ± {summary.head.test.std:.2f}"


def test_cost_and_frontier_tell_what_was_measured(place):
    summary = load(place / "results" / "cifar10.json")
    text = tables.REGISTRY["cifar10-cost"](place / "results")
    assert "1 thread, abacus, 1,234 rounds" in text and "took 3.90 ms" in text
    _, _, *rows = cells(text)
    assert [row[0] for row in rows] == ["mlp", "cnn-add", "vit hidden=96", "head"]
    ms = sorted(e.unit.ms for e in summary.exits if e.branch == "mlp")
    assert rows[0][3:5] == [f"{ms[1]:.3f}", f"{ms[0]:.3f} to {ms[2]:.3f}"] and rows[0][1:3] == ["2.00 k", "1.00"]
    text = tables.REGISTRY["cifar10-frontier"](place / "results")
    _, _, *rows = cells(text)
    assert [row[0] for row in rows] == [f"`{e.name}`" for e in summary.frontier]
    assert [row[1] for row in rows] == [f"{e.path_ms:.2f}" for e in summary.frontier]
    assert "](images/frontier-cifar10.svg)" in text


def test_advice_has_a_row_for_every_number_of_exits(place):
    _, _, *rows = cells(tables.REGISTRY["cifar10-advice"](place / "results"))
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"] and rows[0][1] == "the head alone"
    assert rows[2][1].count("`") == 4
    assert "--no-answer 2.25`" in tables.REGISTRY["counting-advice"](place / "results")


@pytest.mark.slow
def test_the_defaults_are_those_of_the_experiment(monkeypatch):
    """The tables leave default options out of the command, and do not import PyTorch to ask for them."""
    pytest.importorskip("torch")
    from benchmarks.paper.__main__ import main

    found = {}

    def stop(parser, *_):
        found.update({action.dest: action.default for action in parser._actions})
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(KeyboardInterrupt):
        main()
    left_out = ("help", "data", "backbone", "jobs", "work", "out")
    assert {key: value for key, value in found.items() if key not in left_out} == tables.DEFAULTS


def test_docs_results_is_what_the_results_give(capsys):
    filled = [n for p in tables.PAGES for n, text in tables.blocks(p.read_text()).items() if text.strip()]
    if filled:
        assert tables.main(["--check", *filled]) == 0, capsys.readouterr()


def test_docs_results_has_every_table_of_the_registry():
    assert {n for p in tables.PAGES for n in tables.blocks(p.read_text())} == set(tables.REGISTRY)


def test_nothing_makes_a_block_without_results(tmp_path):
    with pytest.raises(BadInput, match="make it with"):
        tables.REGISTRY["trees-cost"](tmp_path)


def test_widths_are_compared_on_what_all_have(place):
    results = place / "results"
    half = made_up(1, branches=("mlp:hidden=8", "cnn-add:channels=4"), layers=(1, 3), seeds=(1,))
    write(results, "cifar10", made_up(branches=("mlp", "cnn-add"), seeds=(0, 1)))
    write(results, "half", half)
    text = tables.REGISTRY["cifar10-options"](results)
    header, _, *rows = cells(text)
    assert header[-2:] == ["after layer 1", "after layer 3"] and "over the seed 1;" in text
    assert sorted(row[0] for row in rows) == sorted(["mlp `*`", "mlp hidden=8", "cnn-add `*`", "cnn-add channels=4"])
    score = next(r["test"] for r in half["runs"] if (r["layer"], r["architecture"]) == (3, "mlp"))
    assert next(row for row in rows if row[0] == "mlp hidden=8")[-1] == f"{100 * score:.1f}"
    assert "--layers 1 3 --seeds 1 --work WORK" in text


def test_widths_that_share_nothing_are_one_line(place):
    write(place / "results", "half", made_up(layers=(2,), seeds=(7,)))
    with pytest.raises(BadInput, match="no layer or seed is in all of them"):
        tables.REGISTRY["cifar10-options"](place / "results")


def test_strategies_have_a_row_each(place):
    runs = [
        {"case": case, "seed": seed, "test": {"2:mlp": 0.5 + 0.1 * seed, "4:head": 0.75}, "n": 50, "seconds": 10}
        | {"epochs": {"b": 2, "a": 1}}
        for seed in (0, 1)
        for case in ("end-to-end", "layer-wise")
    ]
    write(place / "results", "strategies", {"settings": {"data": "d", "seeds": [0, 1]}, "runs": runs})
    text = tables.REGISTRY["strategies"](place / "results")
    header, _, *rows = cells(text)
    assert header == ["strategy", "epochs of each phase", "`2:mlp`", "`4:head`", "seconds"]
    assert rows == [[case, "1 a, 2 b", "55.0 ± 7.1", "75.0 ± 0.0", "10"] for case in ("end-to-end", "layer-wise")]
    assert "`python -m benchmarks.strategies --data d --seeds 0 1 --work WORK" in text


@pytest.mark.parametrize("content", ["", "{}", '{"settings": {}, "runs": []}', '{"settings": {}, "runs": [1]}'])
def test_other_files_are_no_strategies(tmp_path, content):
    (tmp_path / "strategies.json").write_text(content)
    with pytest.raises(BadInput, match=r"strategies\.json"):
        strategies_table.read(tmp_path / "strategies.json")
