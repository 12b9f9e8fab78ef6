import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson.profiling.profile import Sketch
from jetson.scheduling.memory import IDLE, PAUSES
from jetson.scheduling.slowdown import SETTLED, SlowdownFilter, another_mode, noise, pause_of

TIMES = st.floats(1e-6, 1e6)
FUZZ = settings(max_examples=100, deadline=None, derandomize=True)


def feed(filter_, *ratios):
    for ratio in ratios:
        filter_.observe(2.0 * ratio, 2.0)
    return filter_.slowdown


def test_a_device_as_profiled_has_no_slowdown():
    filter_ = SlowdownFilter()
    assert filter_.slowdown == 1.0
    assert feed(filter_, *[1.0] * 10) == 1.0


@pytest.mark.parametrize("spike", [100.0, 0.01])
def test_one_outlier_is_ignored(spike):
    filter_ = SlowdownFilter()
    assert feed(filter_, 1.0, 1.0, spike, 1.0, 1.0, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("spike", [100.0, 0.01])
def test_an_outlier_of_the_very_first_unit_is_ignored(spike):
    assert feed(SlowdownFilter(), spike) == 1.0


def test_outliers_one_by_one_are_ignored():
    assert feed(SlowdownFilter(), *[1.0, 1.0, 50.0] * 20) == pytest.approx(1.0)


@pytest.mark.parametrize("factor", [3.0, 1 / 3, 1.2])
def test_a_lasting_change_is_followed_within_ten_units(factor):
    filter_ = SlowdownFilter()
    feed(filter_, *[1.0] * 5)
    steps = [feed(filter_, factor) for _ in range(10)]
    # 3 % of the way is left after ten units, and it is never overshot.
    assert abs(math.log(steps[-1] / factor)) <= 0.05 * abs(math.log(factor))
    assert all(abs(math.log(s)) <= abs(math.log(factor)) + 1e-12 for s in steps)
    signed = [math.log(s) / math.log(factor) for s in steps]
    assert signed == sorted(signed) and signed[0] == 0.0 and signed[2] > 0.4


def test_recovery_mirrors_the_slowdown():
    up, down = SlowdownFilter(), SlowdownFilter()
    rising = [feed(up, 4.0) for _ in range(12)]
    falling = [feed(down, 0.25) for _ in range(12)]
    assert falling == pytest.approx([1 / r for r in rising])
    back = [feed(up, 1.0) for _ in range(12)]
    assert back[-1] == pytest.approx(1.0, rel=0.07) and back == sorted(back, reverse=True)


@pytest.mark.parametrize(
    ("elapsed", "profiled"),
    [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.nan), (0.0, 0.0)],
)
def test_what_is_no_time_is_skipped(elapsed, profiled):
    filter_ = SlowdownFilter()
    feed(filter_, 2.0, 2.0, 2.0)
    before = filter_.slowdown
    filter_.observe(elapsed, profiled)
    assert filter_.slowdown == before


def test_the_estimate_is_bounded_even_when_the_clock_is_not():
    filter_ = SlowdownFilter()
    for _ in range(200):
        filter_.observe(math.inf, 1.0)
    assert filter_.slowdown == pytest.approx(100.0)
    for _ in range(200):
        filter_.observe(1e-300, 1e9)
    assert filter_.slowdown == pytest.approx(0.01)


@FUZZ
@given(st.lists(st.tuples(TIMES, TIMES), max_size=50))
def test_any_times_give_a_slowdown_within_the_limits(times):
    filter_ = SlowdownFilter()
    for elapsed, profiled in times:
        filter_.observe(elapsed, profiled)
    assert 0.01 * (1 - 1e-9) <= filter_.slowdown <= 100.0 * (1 + 1e-9)


@FUZZ
@given(st.floats(0.02, 50.0), st.lists(TIMES, min_size=1, max_size=20))
def test_only_the_ratio_counts(factor, profiled):
    filter_, other = SlowdownFilter(), SlowdownFilter()
    for ms in profiled:
        filter_.observe(ms * factor, ms)
        other.observe(factor, 1.0)
    assert filter_.slowdown == pytest.approx(other.slowdown)


STEPS = [1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 50.0]


@pytest.mark.parametrize("before", [0, 1, 5, 300])
@pytest.mark.parametrize("factor", STEPS + [1 / f for f in STEPS])
def test_a_step_is_followed_within_six_units_and_never_overshot(factor, before):
    filter_ = SlowdownFilter()
    feed(filter_, *[1.0] * before)
    way = [math.log(feed(filter_, factor)) / math.log(factor) for _ in range(100)]
    assert way[5] >= 0.9 and way[-1] == pytest.approx(1.0, abs=1e-6)
    assert way == sorted(way) and max(way) <= 1.0 + 1e-9


@pytest.mark.parametrize("factor", [1.3, 2.0, 5.0, 0.6])
def test_a_noisy_step_is_followed_as_well(factor):
    rng, filter_ = np.random.default_rng(0), SlowdownFilter()
    feed(filter_, *np.exp(rng.normal(0.0, 0.03, 200)))
    steps = [feed(filter_, x) for x in factor * np.exp(rng.normal(0.0, 0.03, 200))]
    assert steps[9] == pytest.approx(factor, rel=0.06)
    assert steps[50:] == pytest.approx([factor] * 150, rel=0.06)


@FUZZ
@given(st.lists(st.floats(0.02, 50.0), min_size=1, max_size=60))
def test_the_estimate_stays_between_what_was_seen_and_the_profile(ratios):
    filter_ = SlowdownFilter()
    low, high = min(*ratios, 1.0), max(*ratios, 1.0)
    for ratio in ratios:
        filter_.observe(ratio, 1.0)
        assert low * (1 - 1e-9) <= filter_.slowdown <= high * (1 + 1e-9)


@pytest.mark.parametrize("spikes", [(30.0,), (30.0, 1 / 30), (1 / 30, 30.0), (2.0, 0.5), (100.0, 3.0, 10.0)])
@pytest.mark.parametrize("between", [1, 2, 7])
def test_spikes_one_by_one_are_ignored_however_often(spikes, between):
    filter_ = SlowdownFilter()
    feed(filter_, *[1.0] * 10)
    for _ in range(40):
        for spike in spikes:
            assert feed(filter_, spike, *[1.0] * between) == pytest.approx(1.0)


def test_spikes_now_up_now_down_are_no_change_of_pace():
    filter_ = SlowdownFilter()
    assert feed(filter_, *[1.0] * 10, *[20.0, 0.05] * 20) == pytest.approx(1.0)


def test_after_a_burst_of_any_length_the_old_pace_is_back_within_six_units():
    for length in (2, 3, 10, 100):
        filter_ = SlowdownFilter()
        feed(filter_, *[1.0] * 50, *[3.0] * length)
        assert feed(filter_, *[1.0] * 6) == pytest.approx(1.0, rel=0.12)


def test_a_unit_that_was_unsteady_when_profiled_counts_for_less():
    steady, unsteady = SlowdownFilter(), SlowdownFilter()
    for _ in range(20):
        steady.observe(1.0, 1.0, 1e-3)
        unsteady.observe(1.0, 1.0, 1e-3)
    steady.observe(1.08, 1.0, 1e-3)
    unsteady.observe(1.08, 1.0, 0.25)
    assert steady.slowdown > 2 * unsteady.slowdown - 1 > 1.0


def test_noise_is_read_off_the_middle_of_a_sketch():
    times = np.exp(np.random.default_rng(0).normal(0.0, 0.2, 20_000))
    assert noise(Sketch.of(times)) == pytest.approx(0.2**2, rel=0.05)
    # Stalls now and then do not make a unit unsteady, and nothing is steadier than what a clock can tell.
    assert noise(Sketch.of(np.where(np.arange(20_000) % 20, times, 50.0))) == pytest.approx(0.2**2, rel=0.2)
    assert noise(Sketch.of([1.0])) == noise(Sketch.of([0.0])) == pytest.approx(0.03**2)


@pytest.mark.parametrize(
    ("gap_ms", "kind"),
    [(-5.0, 0), (0.0, 0), (0.9, 0), (1.0, 1), (9.0, 1), (10.0, 2), (100.0, 3), (1e3, 4), (math.inf, 4)],
)
def test_pauses_are_told_apart_by_orders_of_magnitude(gap_ms, kind):
    assert pause_of(gap_ms) == kind < PAUSES


@pytest.mark.parametrize("after_pause", [1.2, 1.5, 2.5])
def test_what_a_pause_costs_is_learnt_and_expected(after_pause):
    rng, filter_ = np.random.default_rng(1), SlowdownFilter()
    for frame in range(120):
        filter_.begin(50.0 if frame % 2 else 0.2)
        extra = math.log(after_pause) if frame % 2 else 0.0
        feed(filter_, *np.exp(extra * 0.5 ** np.arange(6) + rng.normal(0.0, 0.03, 6)))
    filter_.begin(30.0)
    assert filter_.slowdown == pytest.approx(after_pause, rel=0.12)
    # It wears off from unit to unit, other pauses cost nothing, and of those never seen nothing is known.
    expected = [math.log(filter_.slowdown)]
    for unit in range(5):
        expected.append(math.log(feed(filter_, math.exp(math.log(after_pause) * 0.5**unit))))
    assert abs(expected[-1]) < 0.08 and expected[0] > expected[1] > expected[2]
    filter_.begin(0.5)
    assert filter_.slowdown == pytest.approx(1.0, rel=0.08)
    assert filter_.memory[IDLE + 3] == filter_.memory[IDLE + 4] == 0.0


def test_one_burst_after_a_pause_teaches_little():
    filter_ = SlowdownFilter()
    for frame in range(30):
        filter_.begin(50.0)
        feed(filter_, 40.0 if frame == 20 else 1.0, *[1.0] * 5)
    filter_.begin(50.0)
    assert filter_.slowdown == pytest.approx(1.0, rel=0.05)


def modes(filter_, ratios):
    """What is said of the device's mode after each unit."""
    return [(feed(filter_, x), another_mode(filter_.memory))[1] for x in ratios]


@pytest.mark.parametrize("factor", [1.5, 0.7, 1.3, 3.0, 0.3])
def test_another_mode_is_noticed_and_forgotten_when_the_device_is_back(factor):
    rng, filter_ = np.random.default_rng(0), SlowdownFilter()
    said = modes(filter_, factor * np.exp(rng.normal(0.0, 0.05, SETTLED + 100)))
    assert not any(said[: SETTLED - 1]) and said[-1] == pytest.approx(factor, rel=0.03)
    back = modes(filter_, np.exp(rng.normal(0.0, 0.05, 200)))
    assert not any(back[60:])
    again = modes(filter_, factor * np.exp(rng.normal(0.0, 0.05, 500)))
    assert again[-1] == pytest.approx(factor, rel=0.05)


def test_a_device_as_profiled_is_in_no_other_mode():
    ratios = np.exp(np.random.default_rng(0).normal(0.0, 0.1, 1500))
    assert not any(modes(SlowdownFilter(), ratios)) and not any(modes(SlowdownFilter(), 1.15 * ratios))


@pytest.mark.parametrize(
    ("slow", "usual", "factor"), [(10, 30, 2.0), (20, 20, 2.0), (50, 50, 3.0), (1, 19, 50.0), (100, 100, 2.0)]
)
def test_bursts_are_no_mode(slow, usual, factor):
    pattern = np.tile([factor] * slow + [1.0] * usual, 2000 // (slow + usual))
    noisy = pattern * np.exp(np.random.default_rng(0).normal(0.0, 0.05, len(pattern)))
    assert not any(modes(SlowdownFilter(), noisy))


@pytest.mark.parametrize("elapsed", [0.0, -1.0, math.nan])
def test_what_is_no_time_leaves_no_trace(elapsed):
    filter_ = SlowdownFilter()
    filter_.begin(50.0)
    feed(filter_, 1.4, 1.2)
    filter_.begin(50.0)
    before = filter_.memory.copy()
    filter_.observe(elapsed, 1.0)
    filter_.observe(1.0, elapsed)
    assert np.array_equal(filter_.memory, before)
