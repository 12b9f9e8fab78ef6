"""`offramp simulate`: what it prints, and every way to ask it wrongly."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from jetson.samples import Samples
from jetson.scheduling.trace import FrameBudget, load_trace, save_trace
from tests.bundles import fake_profile, tiny_bundle
from toolkit.cli import main

KEYS = {
    *("policy", "acc_at_d", "miss_rate", "infeasible_share", "regret_latency_oracle", "regret_full_oracle"),
    *("compute_ms", "branches_per_frame", "decision_us"),
}
SIZE = {"classification": 3, "regression": 2}


def answers(task, seed):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0.0, 1.0, (60, 4, SIZE[task])).astype(np.float32)
    if task == "regression":
        return Samples.of(outputs, outputs[:, 3] + 0.1, None)
    return Samples.of(outputs, outputs[:, 3].argmax(axis=1), [1.5] * 4)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Bundles with samples and one without, and a profile of each."""
    folder = tmp_path_factory.mktemp("shelf")
    for task in SIZE:
        samples = {role: answers(task, seed) for seed, role in enumerate(("fit", "select", "test"))}
        bundle = tiny_bundle(folder / task, task=task, outputs=SIZE[task], samples=samples)
        fake_profile(bundle, spread=0.1).save(folder / f"{task}.json")
    bare = tiny_bundle(folder / "bare", seed=5)
    fake_profile(bare, spread=0.1).save(folder / "bare.json")
    save_trace(folder / "trace.csv", [FrameBudget(4.0 * i, 1.0 + i % 4, 0.5, 2.0) for i in range(30)])
    (folder / "bad.csv").write_text("t_ms,budget_ms\n0,soon\n")
    return folder


@pytest.fixture
def run(shelf, capsys, monkeypatch):
    """Runs the command without numba, which other tests are about."""
    monkeypatch.chdir(shelf)
    monkeypatch.setitem(sys.modules, "numba", None)

    def simulate(*words, bundle="classification", profile=None):
        code = main(["simulate", bundle, "--profile", profile or f"{bundle}.json", *words])
        found = capsys.readouterr()
        return code, found.out, found.err

    return simulate


def test_a_table_and_what_it_means(run):
    code, out, err = run("--scenario", "contention", "--frames", "200")
    assert code == 0 and "contention: 200 frames" in out and "simulating 8 policies" in err
    for word in ("planner", "replan", "deepest-p95", "alert", "threshold", "static-4", "oracle-latency", "oracle-full"):
        assert word in out
    assert "answered rightly within the budget" in out and "Regret" in out and "seeds" not in out


def test_data(run):
    words = ("--scenario", "revised", "--frames", "150", "--policy", "planner,replan,static-1", "--json")
    code, out, _ = run(*words)
    rows = json.loads(out)
    assert code == 0 and [r["policy"] for r in rows] == ["planner", "replan", "static-1"]
    assert all(set(r) >= KEYS and r["frames"] == 150 and "spread" not in r for r in rows)
    again, other = json.loads(run(*words)[1]), json.loads(run(*words, "--seed", "1")[1])
    for found in (rows, again, other):
        for row in found:
            row.pop("decision_us")
    assert rows == again != other


def test_seeds_have_a_spread(run):
    words = ("--scenario", "stationary", "--frames", "60", "--policy", "replan", "--seeds", "3")
    (row,) = json.loads(run(*words, "--json")[1])
    low, high = row["spread"]["acc_at_d"]
    assert row["frames"] == 180 and low <= row["acc_at_d"] <= high
    assert "+-" in run(*words)[1]


def test_regression(run):
    code, out, _ = run("--scenario", "stationary", "--frames", "100", bundle="regression")
    assert code == 0 and "mean abs error" in out and "threshold" not in out
    rows = json.loads(run("--scenario", "hidden", "--frames", "100", "--json", bundle="regression")[1])
    assert all(r["acc_at_d"] is None and r["mean_abs_error"] > 0 and math.isfinite(r["value"]) for r in rows)


def test_a_trace_and_its_copy(run, tmp_path):
    code, out, _ = run(
        "--trace", "trace.csv", "--policy", "replan", "--save-trace", str(tmp_path / "copy.csv"), "--json"
    )
    assert code == 0 and json.loads(out)[0]["frames"] == 30
    assert load_trace(tmp_path / "copy.csv") == load_trace(Path("trace.csv"))
    assert (
        json.loads(run("--trace", "trace.csv", "--policy", "replan", "--frames", "70", "--json")[1])[0]["frames"] == 70
    )
    code, _, _ = run(
        "--scenario", "revised", "--policy", "replan", "--frames", "40", "--save-trace", str(tmp_path / "s.csv")
    )
    saved = load_trace(tmp_path / "s.csv")
    assert code == 0 and len(saved) == 40 and any(f.revised_ms is not None for f in saved)


def test_what_counts_can_be_changed(run):
    words = ("--scenario", "revised", "--frames", "300", "--policy", "threshold-.99", "--json")
    lost = json.loads(run(*words)[1])[0]
    for more in (("--late", "best-so-far"), ("--hidden",), ("--split", "select"), ("--price-per-ms", "0.1")):
        code, out, _ = run(*words, *more)
        assert code == 0 and json.loads(out)[0]["value"] != lost["value"], more
    assert run(*words, "--miss-rate", "0.05")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give either --scenario or --trace"),
        (["--scenario", "ramp", "--trace", "trace.csv"], "give either --scenario or --trace"),
        (["--scenario", "rain"], "no scenario is called 'rain'; there are stationary, ramp"),
        (["--scenario", "ramp", "--policy", "best"], "no policy is called 'best'; there are planner, planner-plain"),
        (["--scenario", "ramp", "--policy", ""], "no policy is called ''"),
        (["--scenario", "ramp", "--policy", "static-9"], "policy static-9: the bundle has exits 1 to 4"),
        (["--scenario", "ramp", "--frames", "0"], "0 is not in the range"),
        (["--scenario", "ramp", "--seeds", "0"], "0 is not in the range"),
        (["--scenario", "ramp", "--miss-rate", "1"], "1.0 is not in the range"),
        (["--scenario", "ramp", "--miss-rate", "0.00001"], "cannot be promised"),
        (["--scenario", "ramp", "--price-per-ms", "nan"], "the price of a millisecond is 0 or more, not nan"),
        (["--scenario", "ramp", "--save-trace", "classification"], "cannot write classification"),
        (["--trace", "none.csv"], "no such budget trace"),
        (["--trace", "bad.csv"], "bad.csv, line 2: 'soon' is not a number"),
    ],
)
def test_wrong_input_is_one_line(run, words, says):
    code, out, err = run(*words)
    assert code == 2 and out == "" and says in err and len(err.strip().splitlines()) == 1


def test_bundles_and_profiles_that_do_not_serve(run):
    said = {
        ("bare", "bare.json"): "bare does not record what its exits answer on the test images; build it again",
        ("classification", "regression.json"): "regression.json was measured on another bundle than classification",
        ("classification", "none.json"): "no such profile",
        ("nothing", "bare.json"): "not a bundle",
    }
    for (bundle, profile), text in said.items():
        code, out, err = run("--scenario", "ramp", bundle=bundle, profile=profile)
        assert code == 2 and out == "" and text in err and len(err.strip().splitlines()) == 1, text


def test_a_profile_of_another_device_is_fine(run, shelf, tmp_path):
    data = json.loads((shelf / "classification.json").read_text())
    data["device"] |= {"machine": "aarch64", "board": "NVIDIA Jetson Orin Nano"}
    (tmp_path / "board.json").write_text(json.dumps(data))
    words = ("--scenario", "ramp", "--frames", "20", "--policy", "replan")
    assert run(*words, profile=str(tmp_path / "board.json"))[0] == 0
