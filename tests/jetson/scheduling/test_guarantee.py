"""Promised miss rates: the bound, how many rounds it takes, and whether promises hold on fresh paths."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from jetson.errors import BudgetError
from jetson.scheduling import learning
from jetson.scheduling.guarantee import FACTORS, SEEDS, careful_factor, rounds_for, upper_bound
from jetson.scheduling.heldout import budgets_over, draw_latencies, walk
from jetson.scheduling.planner import Planner
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import honest, timed

FRESH = 200_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    samples = {"fit": honest(800, seed=1), "select": honest(800, seed=2)}
    return tiny_bundle(tmp_path_factory.mktemp("g") / "bundle", samples=samples)


@pytest.fixture(scope="module")
def judged(bundle):
    return bundle.samples("select")


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("n", [1, 2, 10, 59, 300, 5000])
def test_the_bound_is_clopper_and_pearsons(n, confidence):
    for misses in {k for k in (0, 1, 2, 20, n // 3, n // 2, n - 1, n) if k <= n and (k < 150 or k == n)}:
        wanted = beta.ppf(confidence, misses + 1, n - misses) if misses < n else 1.0
        assert upper_bound(misses, n, confidence) == pytest.approx(wanted, rel=1e-6)


def test_without_trials_nothing_is_bounded():
    assert upper_bound(0, 0) == 1.0


def test_the_bound_rises_with_misses_and_falls_with_trials():
    bounds = [upper_bound(k, 200) for k in range(0, 201, 20)]
    assert bounds == sorted(bounds) and bounds[-1] == 1.0
    assert upper_bound(0, 20) > upper_bound(0, 50) > upper_bound(0, 500) > 0.0


@pytest.mark.parametrize(("rate", "rounds"), [(0.05, 59), (0.1, 29), (0.01, 299), (0.001, 2995), (0.5, 5)])
def test_how_many_rounds_a_promise_takes(rate, rounds):
    assert rounds_for(rate) == rounds
    assert upper_bound(0, rounds) <= rate < upper_bound(0, rounds - 1)


def shape(name, rng, n):
    """A function from a median to n times: bell-shaped, with a heavy tail, or with stalls now and then."""
    draws = {
        "narrow": lambda ms: ms * np.exp(rng.normal(0.0, 0.05, n)),
        "wide": lambda ms: ms * np.exp(rng.normal(0.0, 0.4, n)),
        "tail": lambda ms: ms * (1.0 + 0.05 * rng.pareto(1.5, n)),
        "stalls": lambda ms: ms * np.where(rng.random(n) < 0.03, 8.0, np.exp(rng.normal(0.0, 0.05, n))),
    }
    return draws[name]


def missed(planner, samples, factor, seed=99):
    """Share of fresh frames that are late, of those whose quickest answer would be in time."""
    rng, profile, paths = np.random.default_rng(seed), planner.profile, planner.paths
    latencies = draw_latencies(profile, [u.name for u in planner.manifest.units], FRESH, seed + 1)
    so_far = np.cumsum(latencies[:, list(paths.segments)], axis=1)
    ways = [so_far[:, s - 1] + latencies[:, b] for s, b in zip(paths.stages, paths.branches, strict=True)]
    budgets = budgets_over(profile, rng.random(FRESH))
    frames = rng.integers(len(samples), size=FRESH)
    went = walk(planner.plan.known, paths, planner.manifest, samples, frames, latencies, budgets, factor)
    return float((~went.in_time)[budgets >= np.min(ways, axis=0)].mean())


@pytest.mark.parametrize("miss_rate", [0.1, 0.03, 0.01])
@pytest.mark.parametrize("kind", ["narrow", "wide", "tail", "stalls"])
def test_a_promise_holds_on_fresh_paths(bundle, judged, kind, miss_rate):
    profile = timed(fake_profile(bundle), bundle, shape(kind, np.random.default_rng(5), 3000))
    try:
        planner = Planner.of(bundle, profile, miss_rate=miss_rate)
    except BudgetError:
        # Nothing is promised where nothing can be: not even the most careful factor would do.
        assert missed(Planner.of(bundle, profile), judged, FACTORS[0]) > 0.6 * miss_rate
        return
    assert 1.0 <= planner.plan.tau <= FACTORS[0]
    assert missed(planner, judged, planner.plan.tau) <= miss_rate


def test_few_promises_are_broken_over_profiles(bundle, judged):
    """They hold with 95 % confidence: of six profiles of one device not more than one may be unlucky."""
    broken = 0
    for seed in range(6):
        profile = timed(fake_profile(bundle), bundle, shape("wide", np.random.default_rng(seed), 3000))
        try:
            planner = Planner.of(bundle, profile, miss_rate=0.02)
        except BudgetError:
            continue
        broken += missed(planner, judged, planner.plan.tau) > 0.02
    assert broken <= 1


def test_a_stricter_promise_takes_more_care(bundle):
    profile = timed(fake_profile(bundle), bundle, shape("tail", np.random.default_rng(0), 3000))
    factors = [Planner.of(bundle, profile, miss_rate=rate).plan.tau for rate in (0.5, 0.05, 0.015)]
    assert factors == sorted(factors) and factors[0] == 1.0 < factors[-1]


def test_a_steady_device_needs_no_care(bundle):
    profile = timed(fake_profile(bundle), bundle, lambda ms: np.full(2000, ms))
    assert Planner.of(bundle, profile, miss_rate=0.01).plan.tau == 1.0


def test_too_few_rounds_are_one_line(bundle):
    profile = timed(fake_profile(bundle), bundle, shape("narrow", np.random.default_rng(0), 58))
    with pytest.raises(BudgetError) as caught:
        Planner.of(bundle, profile, miss_rate=0.05)
    text = str(caught.value)
    assert "a miss rate of 0.05 cannot be promised from a profile of 58 rounds, it takes 59: offramp profile" in text
    assert "\n" not in text and caught.value.exit_code == 2
    assert Planner.of(bundle, profile).plan.tau == 1.0


@pytest.mark.parametrize("n", [59, 60, 61])
def test_a_promise_that_nothing_shows_is_not_made(bundle, n):
    """Some of so few budgets cannot be met by any exit, and the others are too few, even if none of them is missed."""
    profile = timed(fake_profile(bundle), bundle, shape("wide", np.random.default_rng(0), n))
    with pytest.raises(BudgetError, match="cannot be promised on this device"):
        Planner.of(bundle, profile, miss_rate=0.05)


def by_drawing(planner, judged, miss_rate, monkeypatch):
    """The factor of each drawing alone, None where it shows nothing; of all together last."""
    found = []
    for seeds in (*((seed,) for seed in SEEDS), SEEDS):
        monkeypatch.setattr("jetson.scheduling.guarantee.SEEDS", seeds)
        try:
            found.append(
                careful_factor(planner.plan.known, planner.paths, planner.manifest, planner.profile, judged, miss_rate)
            )
        except BudgetError:
            found.append(None)
    return found


def test_no_lucky_drawing_makes_a_promise(bundle, judged, monkeypatch):
    profile = timed(fake_profile(bundle), bundle, shape("tail", np.random.default_rng(0), 3000))
    *alone, together = by_drawing(Planner.of(bundle, profile), judged, 0.015, monkeypatch)
    assert len(alone) == 5 and min(alone) < max(alone) == together


@pytest.mark.parametrize(("n", "passed"), [(62, 2), (65, 3)])
def test_more_than_half_of_the_drawings_must_show_a_promise(bundle, judged, monkeypatch, n, passed):
    profile = timed(fake_profile(bundle), bundle, shape("wide", np.random.default_rng(0), n))
    *alone, together = by_drawing(Planner.of(bundle, profile), judged, 0.05, monkeypatch)
    found = [factor for factor in alone if factor is not None]
    assert len(found) == passed and together == (max(found) if passed > 2 else None)


def test_factors_are_tried_from_the_most_careful_on():
    assert FACTORS[0] == 16.0 and FACTORS[-1] == 1.0 and list(FACTORS) == sorted(FACTORS, reverse=True)
    assert math.log(FACTORS[0]) <= learning.MOST_TAU


def test_what_nobody_can_keep_is_not_promised(bundle):
    """Times that are now a tenth and now ten times as long: even at the most careful factor one in ten is late."""
    rng = np.random.default_rng(0)
    profile = timed(fake_profile(bundle), bundle, lambda ms: ms * np.exp(rng.normal(0.0, 1.5, 2000)))
    with pytest.raises(BudgetError):
        Planner.of(bundle, profile, miss_rate=0.01)


def test_preprocessing_does_not_hide_what_units_do(bundle, judged):
    """Frames take longer to prepare than to answer: what is left for units is as short as ever, and as hard to keep to.

    At 20 ms, budgets up to 1.15 times the whole leave units more room than they need, so that fewer are hard.
    """
    taus = []
    for before_ms in (0.01, 5.0, 20.0):
        draw = shape("tail", np.random.default_rng(0), 3000)
        profile = timed(fake_profile(bundle, preprocess_ms=before_ms), bundle, draw)
        planner = Planner.of(bundle, profile, miss_rate=0.015)
        taus.append(planner.plan.tau)
        assert missed(planner, judged, planner.plan.tau) <= 0.015 < 1.3 * missed(planner, judged, 1.0)
    assert taus[1] == pytest.approx(taus[0], rel=0.1) and taus[0] > taus[2] > 1.0


def test_budgets_are_drawn_evenly_over_what_is_left_after_preprocessing(bundle):
    profile = fake_profile(bundle, preprocess_ms=5.0)
    low, high = 5.0 + 1.25, 1.15 * (5.0 + 3.25)
    shares = np.array([0.0, 0.3, 1.0])
    assert budgets_over(profile, shares) == pytest.approx(low * (high / low) ** shares - 5.0)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_what_is_no_rate_is_refused(bundle, rate):
    with pytest.raises(BudgetError, match="a promised miss rate lies between 0 and 1, not at"):
        Planner.of(bundle, fake_profile(bundle), miss_rate=rate)
