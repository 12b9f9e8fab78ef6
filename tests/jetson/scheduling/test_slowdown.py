import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson.scheduling.slowdown import SlowdownFilter

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
