import numpy as np
import pytest

from calibration.reliability import BINS, reliability


def test_the_error_is_the_gap_weighed_by_frames():
    stated = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([1, 1, 1, 0, 0, 0], bool)
    found = reliability(np.ones(6), stated, right, "select")
    assert found.after == pytest.approx((4 * 0.2 + 2 * 0.55) / 6, abs=1e-5)
    assert found.before == pytest.approx(0.5) and (found.n, found.split) == (6, "select")
    filled = [b for b in found.bins_after if b.n]
    assert [(b.n, b.stated, b.right) for b in filled] == [(2, 0.55, 0.0), (4, 0.95, 0.75)]
    assert all(b.stated == b.right == 0 for b in found.bins_after if not b.n)


def test_there_are_fifteen_bins_of_one_width_that_hold_every_frame():
    stated = np.concatenate([np.linspace(0, 1, 301), np.arange(1, 15) / 15])
    found = reliability(stated, stated, np.ones(len(stated), bool), "test")
    for bins in (found.bins_before, found.bins_after):
        assert len(bins) == BINS == 15 and sum(b.n for b in bins) == len(stated)
        assert [b.low for b in bins[1:]] == [b.high for b in bins[:-1]] and (bins[0].low, bins[-1].high) == (0, 1)
        assert all(b.low - 1e-4 <= b.stated <= b.high + 1e-4 for b in bins)


@pytest.mark.parametrize("n", [500, 2000])
def test_probabilities_that_hold_have_the_error_of_chance_alone(n):
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        stated = rng.uniform(0, 1, n)
        errors.append(reliability(stated, stated, rng.random(n) < stated, "test").after)
    centres = (np.arange(BINS) + 0.5) / BINS
    by_chance = np.sqrt(2 / np.pi) * np.sqrt(centres * (1 - centres) * n / BINS).sum() / n
    assert np.mean(errors) == pytest.approx(by_chance, rel=0.05)
    assert by_chance < 0.4 * np.sqrt(BINS / n)


def test_probabilities_that_are_too_high_are_found_out():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.3, 0.9, 20_000)
    found = reliability(truth + 0.1, truth, rng.random(20_000) < truth, "test")
    assert found.before == pytest.approx(0.1, abs=0.01) and found.after < 0.02
