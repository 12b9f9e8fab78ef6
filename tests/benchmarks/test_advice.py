"""Results as `offramp suggest` reads them, and what it then chooses."""

import itertools
import json

import pytest

from benchmarks.paper.advice import advise, budgets, main
from benchmarks.paper.summary import load
from tests.benchmarks.results import made_up, write
from toolkit.cli import main as offramp
from toolkit.suggest import choose
from toolkit.suggest.sources import load_source


@pytest.fixture(params=["classification", "regression"])
def written(tmp_path, request, capsys):
    """A summary, and its file of advice."""
    file, out = write(tmp_path, "cifar10", made_up(3, request.param)), tmp_path / "advice.json"
    assert main([str(file), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"-> {out}\n"
    return load(file), out


def test_the_source_is_what_was_measured(written):
    summary, out = written
    source = load_source(out, None)
    sign = 1 if summary.higher_is_better else -1
    assert source.task == summary.recorded.task and source.depth == summary.depth
    found = [(c.name, c.layer, c.quality, c.branch_ms) for c in (*source.candidates, source.head)]
    assert found == [(e.name, e.layer, sign * e.calibration.mean, e.unit.ms) for e in summary.all_exits]


def test_suggest_gives_the_best_set(written, capsys):
    """The command, the tables' own advice, and every subset there is."""
    summary, out = written
    words = [] if summary.higher_is_better else ["--no-answer", str(summary.recorded.mean_error)]
    assert offramp(["suggest", str(out), "--exits", "2", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    advised, (low, high) = advise(summary, 2)
    assert [tuple(e["name"] for e in s["exits"][:-1]) for s in found["by_number"]] == [a.exits for a in advised]
    assert [s["expected"] for s in found["by_number"]] == pytest.approx([a.expected for a in advised])
    source = load_source(out, None)
    given = budgets(source)
    assert (low, high) == (given[0], given[-1])
    sign = 1 if summary.higher_is_better else -1
    nothing = 0.0 if summary.higher_is_better else -summary.recorded.mean_error
    best = max(
        choose.worth((*chosen, source.head), source.depth, given, nothing)
        for number in range(3)
        for chosen in itertools.combinations(source.candidates, number)
    )
    assert sign * found["choice"]["expected"] == pytest.approx(best)


def test_the_test_part_judges_what_the_calibration_part_chose(written):
    summary, out = written
    source = load_source(out, None)
    given, test = budgets(source), {e.name: e.test.mean for e in summary.all_exits}
    nothing = summary.recorded.mean_error or 0.0
    chosen = advise(summary, 2)[0][2]
    layers = [int(name.partition(":")[0]) for name in chosen.exits]
    exits = [next(c for c in source.candidates if c.name == name) for name in chosen.exits] + [source.head]
    cuts = [sorted({*layers, source.head.layer}).index(e.layer) + 1 for e in exits]
    times = [source.depth.latency_ms(e, c) for e, c in zip(exits, cuts, strict=True)]
    reached = []
    for budget in given:
        fitting = [e for e, ms in zip(exits, times, strict=True) if ms <= budget]
        best = max(fitting, key=lambda e: e.quality, default=None)
        reached.append(nothing if best is None else test[best.name])
    assert chosen.on_test == pytest.approx(sum(reached) / len(reached))


def test_a_bad_file_is_one_line(tmp_path, capsys):
    (tmp_path / "x.json").write_text("{}")
    assert main([str(tmp_path / "x.json"), "--out", str(tmp_path / "out.json")]) == 2
    err = capsys.readouterr().err
    assert "not the results of benchmarks.paper" in err and err.count("\n") == 1
    assert not (tmp_path / "out.json").exists()
