"""The benchmark of predictions: how units add up, how far off a prediction is, what the table says, and a real run."""

import numpy as np
import pytest

from benchmarks.cost import prediction
from benchmarks.cost.record import Recorded
from jetson.engines import onnxruntime as ort_engines
from tests.bundles import fake_profile, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("prediction"))


def test_steady_units_add_up_to_their_sum(bundle):
    profile = fake_profile(bundle, segment_ms=2.0, branch_ms=0.5, preprocess_ms=0.1)
    for exit_, (middle, high) in zip(bundle.manifest.exits, prediction.added_up(bundle.manifest, profile), strict=True):
        expected = 2.0 * (len(exit_.units) - 1) + 0.5 + 0.1
        assert middle == pytest.approx(expected, rel=0.01) and high == pytest.approx(expected, rel=0.01)


def test_independent_units_spread_less_than_their_quantiles_together(bundle):
    profile = fake_profile(bundle, spread=0.1)
    last = bundle.manifest.exits[-1]
    middle, high = prediction.added_up(bundle.manifest, profile)[-1]
    together = sum(float(profile.units[name].end_to_end_ms.quantile(0.99)) for name in last.units)
    assert middle < high < together
    draws = np.random.default_rng(0).normal(0, 0.1, (len(last.units), 100_000))
    medians = np.array([1.0] * (len(last.units) - 1) + [0.25])
    sums = medians @ np.exp(draws)
    assert high == pytest.approx(float(np.quantile(sums, 0.99)), rel=0.03)


def exit_of(measured, units, own):
    return {"exit": "1:mlp", "measured": measured, "predicted": {"units": units, "exits": own}, "runs": 40}


def test_the_table():
    runs = [
        [exit_of([10.0, 20.0], [10.1, 18.0], [10.0, 20.0]), exit_of([10.0, 20.0], [9.7, 18.0], [10.0, 20.0])],
        [exit_of([10.0, 20.0], [10.2, 18.0], [10.0, 20.0]), exit_of([10.0, 20.0], [10.2, 19.0], [10.0, 21.0])],
    ]
    cases = [{"size": "tiny", "exits": 2, "runs": runs}]
    text = prediction.table(Recorded("prediction", {}, {"processor": "abacus", "cores": 2}, {"cases": cases}))
    assert "| ViT-tiny | 2 | its units added up | 2.0 (3.0) | 10.0 (10.0) |" in text
    assert "| ViT-tiny | 2 | the exit's own time | 0.0 (0.0) | 0.0 (5.0) |" in text and "2 repeats" in text


def test_a_real_run(bundle):
    threads = ort_engines._process_threads or ort_engines.available_cores()
    found = prediction.measured(bundle.path, threads, 0.0)
    assert [e["exit"] for e in found] == [e.name for e in bundle.manifest.exits]
    for exit_ in found:
        assert exit_["runs"] == 20 and set(exit_["predicted"]) == set(prediction.WAYS)
        assert all(middle <= high for middle, high in (exit_["measured"], *exit_["predicted"].values()))
