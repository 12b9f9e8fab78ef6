"""Results read back: means and spreads, paths, and the frontier against its definition."""

import copy
import json
import statistics

import pytest

from benchmarks.paper.summary import load
from benchmarks.paper.tables import quality
from jetson.errors import BadInput, StorageError
from tests.benchmarks.results import made_up, write


def summed_up(tmp_path, **settings):
    raw = made_up(**settings)
    return raw, load(write(tmp_path, "cifar10", raw))


def test_every_exit_has_its_scores_and_its_cost(tmp_path):
    raw, summary = summed_up(tmp_path)
    assert [e.name for e in summary.at(2)] == ["2:mlp", "2:cnn-add", "2:vit:hidden=96"]
    assert summary.head.name == "4:head" and len(summary.exits) == 9 and summary.seeds == 3
    vit = summary.at(2)[2]
    scores = [r["test"] for r in raw["runs"] if r["exit"] == "2:vit"]
    assert len(scores) == 3
    assert vit.test.mean == pytest.approx(statistics.mean(scores))
    assert vit.test.std == pytest.approx(statistics.stdev(scores))
    assert vit.test.range == pytest.approx(max(scores) - min(scores))
    units = raw["latency"]["units"]
    assert vit.unit.ms == units["branch-2-vit"]["ms"]
    through = units["segment-1"]["ms"] + units["segment-2"]["ms"]
    assert vit.path_ms == pytest.approx(0.11 + through + 0.07 + vit.unit.ms), "one boundary, however many layers"
    assert vit.path_flops == 101_000_000 and summary.head.path_flops == 200_010_000


def test_a_segment_of_several_layers_is_split_evenly(tmp_path):
    raw, summary = summed_up(tmp_path, layers=(2, 5), depth=6)
    times = [raw["latency"]["units"][f"segment-{n}"]["ms"] for n in (1, 2, 3)]
    assert summary.depth.layer_ms == pytest.approx([times[0] / 2] * 2 + [times[1] / 3] * 3 + [times[2]])
    assert summary.at(5)[0].path_ms == pytest.approx(0.11 + times[0] + times[1] + 0.07 + summary.at(5)[0].unit.ms)


def test_one_seed_has_no_standard_deviation(tmp_path):
    _, summary = summed_up(tmp_path, seeds=(5,))
    assert {e.test.std for e in summary.all_exits} == {None} and summary.seeds == 1


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_frontier_is_what_no_exit_beats(tmp_path, seed, task):
    raw = made_up(seed, task, seeds=(0,))
    if seed % 2:  # equal scores and equal times
        for run in raw["runs"]:
            run["test"] = round(run["test"], 1)
        for unit in raw["latency"]["units"].values():
            unit["ms"] = round(unit["ms"], 1)
    summary = load(write(tmp_path, "x", raw))
    sign = 1 if task == "classification" else -1
    points = {e.name: (-e.path_ms, sign * e.test.mean) for e in summary.all_exits}
    wanted = {
        name
        for name, here in points.items()
        if not any(other != here and other[0] >= here[0] and other[1] >= here[1] for other in points.values())
    }
    assert {e.name for e in summary.frontier} == wanted
    times = [e.path_ms for e in summary.frontier]
    assert times == sorted(times)
    worths = [sign * e.test.mean for e in summary.frontier]
    assert worths == sorted(worths), "who pays more time gets more quality"


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_best_branch_is_chosen_on_the_calibration_part(tmp_path, task):
    raw = made_up(task=task)
    good, bad = (0.99, 0.01) if task == "classification" else (0.01, 0.99)
    for run in raw["runs"]:
        at = run["exit"] == "2:cnn-add"
        run |= {"calibration": good if at else bad, "test": bad if at else good}
    summary = load(write(tmp_path, "x", raw))
    assert summary.best_at(2).name == "2:cnn-add" and summary.best_at(4) is None


def without(*path):
    def change(raw):
        *way, last = path
        for key in way:
            raw = raw[key]
        del raw[last]

    return change


def head_too_early(raw):
    for run in raw["runs"]:
        if run["architecture"] == "head":
            run["layer"] = 2


def other_seeds(raw):
    for run in raw["runs"]:
        if run["exit"] == "1:mlp":
            run["seed"] += 7


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("runs"), "missing required field `runs`"),
        (without("latency", "units"), "missing required field `units`"),
        (without("latency", "units", "segment-2"), "its latency has no unit segment-2"),
        (without("latency", "units", "branch-2-mlp"), "its latency has no unit branch-2-mlp"),
        (without("probe", "3"), "holds no linear probe after layer 3"),
        (without("data", "test"), "missing required field `test`"),
        (without("settings", "branches"), "settings.branches does not have what its runs trained: 1:mlp"),
        (other_seeds, "no seed is there that all its exits were trained with"),
        (lambda raw: raw.update(runs=[]), "holds no runs of one head after the last layer"),
        (lambda raw: raw.update(runs=[r for r in raw["runs"] if r["architecture"] != "head"]), "holds no runs of one"),
        (head_too_early, "holds no runs of one head after the last layer"),
        (lambda raw: raw.update(latency=None), "without --latency-seconds 0"),
        (lambda raw: raw.update(task="regression"), "holds no mean_error"),
        (lambda raw: raw.update(task="sorting"), "sorting"),
        (
            lambda raw: raw["latency"]["units"].update({"segment-5": raw["latency"]["units"]["head"]}),
            "its segments do not end at the layers that have exits (1, 2, 3, 4)",
        ),
        (lambda raw: raw["latency"]["units"]["head"].update(ms=-1.0), "unit head has times that cannot be"),
    ],
)
def test_what_a_file_lacks_is_one_line(tmp_path, change, says):
    raw = copy.deepcopy(made_up())
    change(raw)
    file = write(tmp_path, "x", raw)
    with pytest.raises(BadInput) as caught:
        load(file)
    text = str(caught.value)
    assert text.startswith(f"{file}: ") and says in text and "\n" not in text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", json.dumps({"runs": float("nan")}).encode()])
def test_no_results_at_all(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"not the results of benchmarks\.paper"):
        load(tmp_path / "x.json")
    with pytest.raises(StorageError):
        load(tmp_path / "absent.json")


def test_further_seeds_may_be_there_of_some_exits_only(tmp_path):
    raw = made_up(seeds=(0, 1))
    raw["runs"] = [r for r in raw["runs"] if r["seed"] == 0 or r["layer"] in (2, 4)]
    found = load(write(tmp_path, "cifar10", raw))
    counts = {e.layer: len(e.test.values) for e in found.all_exits}
    assert counts == {1: 1, 2: 2, 3: 1, 4: 2}
    assert "where a ± stands, else one" in quality(found)
