import json

import numpy as np
import pytest

from benchmarks import clock_table, scheduling, scheduling_table
from jetson.errors import BadInput
from jetson.samples import Samples
from tests.bundles import fake_profile, tiny_bundle

EXITS = ((2, "mlp"), (4, "vit"), (6, "head"))
ARGUMENTS = ["--frames", "300", "--seeds", "2", "--scenarios", "stationary", "revised"]


def answers(n, seed):
    rng = np.random.default_rng(seed)
    right = rng.random((n, 3)) < (0.6, 0.75, 0.85)
    target = rng.integers(0, 3, n)
    classes = np.where(right, target[:, None], (target[:, None] + 1) % 3).astype(np.int32)
    return Samples(target=target, class_index=classes, score=rng.normal(1.0, 1.0, (n, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("scheduling")
    roles = {role: answers(200, seed) for seed, role in enumerate(("fit", "select", "test"))}
    bundle = tiny_bundle(root / "bundle", exits=EXITS, quality=[0.6, 0.75, 0.85], samples=roles)
    fake_profile(bundle, spread=0.1).save(root / "profile.json")
    tiny_bundle(root / "silent", exits=EXITS, quality=[0.6, 0.75, 0.85])
    return root


def run(folder, monkeypatch, *words, bundle="bundle"):
    out = folder / "results.json"
    command = ["x", str(folder / bundle), "--profile", str(folder / "profile.json"), "--work", str(folder / "work")]
    monkeypatch.setattr("sys.argv", [*command, "--out", str(out), *ARGUMENTS, *words])
    scheduling.main()
    return out


def test_every_policy_is_compared_and_the_tables_say_so(folder, monkeypatch, capsys):
    recorded = scheduling_table.read(run(folder, monkeypatch))
    assert recorded.scenarios == ["stationary", "revised"] and len(recorded.runs) == 4
    policies = {"planner", "planner-promise", "planner-thrifty", "planner-price-0.2", "replan", "alert"}
    policies |= {"oracle-latency", "static-3"}
    assert policies <= set(recorded.policies)
    for part, make in scheduling_table.TABLES.items():
        text = make(recorded)
        assert "stationary" in text or part == "policies"
        assert "nan" not in text and "300 frames" in text
    best = recorded.of("stationary", "oracle-full", "acc_at_d")
    assert (best >= recorded.of("stationary", "planner", "acc_at_d")).all()

    # What is done is not done again, and gives the same file.
    capsys.readouterr()
    monkeypatch.setattr(scheduling, "one_run", None)
    before = (folder / "results.json").read_bytes()
    assert run(folder, monkeypatch).read_bytes() == before


def test_a_bundle_that_records_no_answers_is_refused(folder, monkeypatch):
    with pytest.raises(BadInput, match=r"records no answers|another bundle"):
        run(folder, monkeypatch, bundle="silent")
    assert not (folder / "silent.json").exists()


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"runs": []})])
@pytest.mark.parametrize("read", [scheduling_table.read, clock_table.read])
def test_other_files_are_not_results(tmp_path, content, read):
    with pytest.raises(BadInput, match="is not there; make it with"):
        read(tmp_path / "none.json")
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(BadInput, match="not the results of"):
        read(tmp_path / "file.json")


def test_an_interval_holds_the_mean():
    values = np.array([0.1, 0.2, 0.4, 0.3])
    low, high = scheduling_table.interval(values)
    assert 0.1 <= low < values.mean() < high <= 0.4
    assert scheduling_table.interval(np.full(3, 0.5)) == (0.5, 0.5)


def test_the_clock_table_stands_beside_simulation(tmp_path):
    figures = {"acc_at_d": 0.5, "miss_rate": 0.01, "compute_ms": 2.0, "branches_per_frame": 1.5, "frames": 100}
    content = {
        "settings": {"seconds": 5.0, "seed": 0, "miss_rate": 0.01},
        "data": "digits",
        "threads": 1,
        "cores": 2,
        "clock": {"quiet, known": {"planner": figures}, "loaded, hidden": {"planner": figures | {"miss_rate": None}}},
        "simulated": {"stationary": {"planner": figures | {"acc_at_d": 0.75}}},
    }
    (tmp_path / "clock.json").write_text(json.dumps(content))
    text = clock_table.table(clock_table.read(tmp_path / "clock.json"))
    assert "| quiet, known | `planner` | 50.0 | 75.0 | 1.00 | 1.00 | 2.00 | 2.00 | 1.50 | 100 |" in text
    assert "| loaded, hidden | `planner` | 50.0 |  |  |  | 2.00 |  | 1.50 | 100 |" in text
    assert "--seconds 5.0 --seed 0" in clock_table.command("clock", content["settings"])
