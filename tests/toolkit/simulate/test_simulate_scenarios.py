"""Made-up courses of budgets and pace: reproducible, and what their descriptions say."""

import math
from dataclasses import fields

import numpy as np
import pytest

from jetson.errors import BadInput
from jetson.scheduling.trace import FrameBudget
from toolkit.simulate.scenarios import NAMES, from_trace, hide, make

FRAMES = 4000


@pytest.fixture
def made(worlds):
    def scenario(name, seed=0, frames=FRAMES):
        return make(name, worlds["classification"].profile, frames, np.random.default_rng(seed))

    return scenario


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_course_and_another_another(made, name):
    one, again, other = made(name), made(name), made(name, seed=1)
    assert one.name == name and len(one) == FRAMES
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(again, field.name)
        assert np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b, field.name
    assert not np.array_equal(one.budget_ms, other.budget_ms)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 2, 13])
def test_courses_are_sound_however_short(made, name, frames):
    course = made(name, frames=frames)
    assert all(np.isfinite(x).all() for x in (course.t_ms, course.budget_ms, course.wake, course.pace))
    assert (course.budget_ms > 0).all() and (np.diff(course.t_ms) > 0).all() and (course.pace > 0).all()
    assert course.change_ms[0] == -math.inf and (np.diff(course.change_ms[1:]) >= 0).all()
    assert np.array_equal(np.isnan(course.revise_at_ms), np.isnan(course.revised_ms))
    assert course.hidden.all() == course.hidden.any() == (name == "hidden")


def test_budgets_reach_from_under_the_quickest_exit_to_over_the_deepest(made, worlds):
    times = [e.end_to_end_ms.median for e in worlds["classification"].profile.exits]
    budget = made("stationary").budget_ms
    assert 0.85 * min(times) < budget.min() < min(times) and max(times) < budget.max() < 1.2 * max(times)
    share = np.log(budget / budget.min()) / np.log(budget.max() / budget.min())
    assert np.histogram(share, 4, (0, 1))[0] == pytest.approx(np.full(4, FRAMES / 4), rel=0.35)
    assert np.corrcoef(share[1:], share[:-1])[0, 1] > 0.8


def test_paces(made):
    ramp = made("ramp")
    assert ramp.slowdown(ramp.t_ms[[0, FRAMES // 4, FRAMES // 2, -1]]) == pytest.approx([1.0, 1.75, 2.5, 1.0], abs=0.01)
    burst = made("contention")
    pace = burst.slowdown(np.linspace(0, burst.t_ms[-1], 50_000))
    assert 0.2 < (pace > 1).mean() < 0.5 and pace[pace > 1].min() >= 1.6 and pace.max() <= 3.0
    starts = burst.change_ms[1:][burst.change_ms[1:] < burst.t_ms[-1]]
    assert not np.isin(starts, burst.t_ms).any()
    assert made("wrong-mode").slowdown(np.zeros(1)) == 1.7 and made("wrong-mode-fast").slowdown(np.zeros(1)) == 0.7
    turning = made("adversarial")
    assert set(turning.slowdown(turning.t_ms[1:])) == {1.0, 2.2}
    before, after = turning.slowdown(turning.t_ms[12:24:11]), turning.slowdown(turning.t_ms[13:26:12])
    assert before.tolist() == [2.2, 1.0] and after.tolist() == [1.0, 2.2]


def test_what_befalls_single_frames(made):
    revised = made("revised")
    some = ~np.isnan(revised.revised_ms)
    factor = revised.revised_ms[some] / revised.budget_ms[some]
    assert 0.35 < some.mean() < 0.45 and 0.75 < (factor < 1).mean() < 0.85
    assert (revised.revise_at_ms[some] < np.minimum(revised.revised_ms, revised.budget_ms)[some]).all()
    idle = made("idle")
    paused = idle.gap_ms >= 1.0
    assert 0.15 < paused.mean() < 0.25 and idle.gap_ms.max() > 1000 and (idle.gap_ms[~paused] == 0.0).all()
    assert idle.wake[paused].min() >= 1.0 and idle.wake.max() <= 2.0 and (idle.wake[~paused] == 0.0).all()
    assert 0.02 <= made("spikes").spikes <= 0.05 and made("thermal").heat[0] > 0


def test_a_trace_is_taken_as_it_is_and_begun_again():
    trace = [FrameBudget(0.0, 5.0), FrameBudget(7.0, 3.0, 1.0, 2.0)]
    course = from_trace(trace, 5)
    assert course.t_ms.tolist() == [0.0, 7.0, 9.0, 16.0, 18.0]
    assert course.budget_ms.tolist() == [5.0, 3.0, 5.0, 3.0, 5.0]
    assert from_trace(trace).trace() == trace and len(from_trace(trace, 1)) == 1
    assert from_trace([FrameBudget(0.0, math.inf)], 3).t_ms.tolist() == [0.0, 0.0, 0.0]


def test_hidden_budgets_end_when_the_last_of_them_does():
    course = hide(from_trace([FrameBudget(0.0, 5.0), FrameBudget(7.0, 3.0, 1.0, 2.0)]))
    assert course.hidden.all() and course.budget_ms.tolist() == [5.0, 2.0] and np.isnan(course.revised_ms).all()


def test_a_wrong_name_is_told_the_right_ones(made):
    with pytest.raises(BadInput, match="no scenario is called 'rain'; there are stationary, ramp, thermal"):
        made("rain")
