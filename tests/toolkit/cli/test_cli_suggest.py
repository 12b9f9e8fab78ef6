"""`offramp suggest` on a bundle with its profile, and on results."""

import json

import msgspec
import pytest

from tests.bundles import fake_profile, tiny_bundle
from toolkit.cli import main
from toolkit.suggest.sources import ExitResult, Results

RESULTS = Results(
    task="classification",
    layer_ms=(1.0, 1.0, 1.0, 1.0),
    boundary_ms=0.1,
    fixed_ms=0.05,
    exits=tuple(
        ExitResult(name=f"{layer}:{name}", layer=layer, quality=0.4 + 0.1 * layer + extra, branch_ms=ms)
        for layer in (1, 2, 3)
        for name, extra, ms in (("mlp", 0.0, 0.1), ("vit", 0.05, 0.9))
    ),
    head=ExitResult(name="4:head", layer=4, quality=0.9, branch_ms=0.05),
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in ("classification", "regression"):
        bundle = tiny_bundle(tmp_path / task, task=task, seed=len(task))
        fake_profile(bundle).save(tmp_path / f"{task}.json")
    (tmp_path / "results.json").write_bytes(msgspec.json.encode(RESULTS))


def run(capsys, *words):
    code = main(["suggest", *words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_advice_from_results(here, capsys):
    code, out, err = run(capsys, "results.json", "--exits", "2", "--budget-ms", "1:5")
    assert code == 0 and err == ""
    for words in (
        "early exits",
        "<- best",
        "The choice: --exits ",
        "runner-up: --exits ",
        "a boundary costs 0.1000 ms",
    ):
        assert words in out, words
    code, out, _ = run(capsys, "results.json", "--exits", "2", "--budget-ms", "1:5", "--json")
    data = json.loads(out)
    values = [s["expected"] for s in data["by_number"]]
    assert values == sorted(values) and data["choice"]["expected"] == values[2]
    assert data["runner_up"]["expected"] <= values[2] and data["choice"]["exits"][-1]["name"] == "4:head"
    assert sum(e["share"] * e["quality"] for e in data["choice"]["exits"]) == pytest.approx(values[2])


def test_advice_on_the_exits_of_a_bundle(here, capsys):
    words = ["classification", "--profile", "classification.json", "--exits", "3", "--json"]
    code, out, err = run(capsys, *words)
    data = json.loads(out)
    assert code == 0 and "no budgets given" in err
    assert data["choice"]["exits"][0]["latency_ms"] == pytest.approx(1.26, abs=1e-6)
    assert data["by_number"][0]["exits"][0]["latency_ms"] == pytest.approx(3.26, abs=1e-6)
    _, out, _ = run(capsys, *words, "--boundary-ms", "0.5")
    assert json.loads(out)["choice"]["exits"][0]["latency_ms"] == pytest.approx(1.76, abs=1e-6)


def test_regression_speaks_of_errors(here, capsys):
    words = ["regression", "--profile", "regression.json", "--exits", "2", "--budget-ms", "1:4"]
    code, out, _ = run(capsys, *words, "--no-answer", "5", "--json")
    data = json.loads(out)
    assert code == 0 and all(0 < e["quality"] < 5 for e in data["choice"]["exits"])
    errors = [s["expected"] for s in data["by_number"] if s]
    assert errors == sorted(errors, reverse=True)
    code, _, err = run(capsys, *words)
    assert code == 2 and "say with --no-answer what error to count" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("classification --exits 2", "is a bundle; what its units cost stands in a profile: give --profile FILE"),
        ("classification --exits 2 --profile regression.json", "measured on another bundle"),
        ("nothing.json --exits 2", "neither a bundle (a folder with manifest.json) nor a file of results"),
        ("classification.json --exits 2", "not the results of an experiment"),
        ("results.json --exits 2 --budget-ms 5:1", "give LOW:HIGH, or milliseconds in rising order"),
        ("results.json --exits 2 --budget-ms soon", "give LOW:HIGH"),
        ("results.json --exits 2 --budget-ms nan", "give LOW:HIGH"),
        ("results.json --exits 2 --budget-ms 0", "give LOW:HIGH"),
        ("results.json --exits 2 --budget-ms 1:5 --budget-trace t.csv", "give either --budget-ms or --budget-trace"),
        ("results.json --exits 2 --budget-trace t.csv", "no such budget trace"),
        ("results.json --exits -1", "--exits"),
        ("results.json", "Missing option '--exits'"),
    ],
)
def test_what_cannot_be_used_is_one_line(here, capsys, words, says):
    code, out, err = run(capsys, *words.split())
    assert code == 2 and out == "" and says in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"layer_ms": [1.0, 1.0]}, {"boundary_ms": -1.0}, {"colour": 1}, {"fixed_ms": 1e300}],
)
def test_results_that_cannot_be_are_refused(here, capsys, tmp_path, change):
    data = json.loads((tmp_path / "results.json").read_text()) | change
    (tmp_path / "results.json").write_text(json.dumps(data))
    code, _, err = run(capsys, "results.json", "--exits", "2")
    assert code == 2 and err.startswith("offramp suggest: results.json: ") and err.count("\n") == 1
