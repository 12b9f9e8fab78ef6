"""Several frames at once: the order, the shares, and what becomes of the others when one fails."""

import math

import numpy as np
import pytest

from jetson import Budget
from jetson.errors import BudgetError, StreamsError
from jetson.scheduling.policy import Untimed
from jetson.streams import Needs, Shared, Turn, even_share, needs_of, next_turn

FRAME = np.zeros((8, 8), np.uint8)
QUICKEST_MS, LAST_MS = 1.35, 3.35
"""Of the runtime of `make`: a frame's preparation, its segments and a branch."""


def within(*ms):
    return [Budget.within(m) for m in ms]


def needs(least, most=math.inf):
    return Needs(least, most)


def turns(*budgets, took=1.0):
    """In which order frames come when each takes so long."""
    waiting, now, found = dict(enumerate(budgets)), 0.0, []
    while waiting:
        turn = next_turn(waiting, 0.0, now, needs(took))
        del waiting[turn.frame]
        found.append(turn.frame)
        now += took
    return found


def test_what_is_due_first_goes_first():
    assert turns(*within(9e3, 4e3, 7e3, 5e3)) == [1, 3, 2, 0]
    assert turns(*within(5e3, 5e3, 5e3)) == [0, 1, 2], "in the order given when all else is equal"


def test_what_cannot_be_in_time_waits_for_what_can():
    assert turns(*within(0.5e3, 2e3, 3e3)) == [1, 2, 0]
    # Only two of the first three fit before second two.
    assert turns(*within(2e3, 2e3, 2e3, 4e3)) == [0, 1, 3, 2]
    assert turns(*within(0.3e3, 0.2e3)) == [1, 0], "and among themselves they keep their order"


def test_limits_that_are_not_told_come_after_known_ones_and_no_limit_last():
    assert turns(Budget.unbounded(), Budget.unknown(), Budget.within(50e3), Budget.unknown()) == [2, 1, 3, 0]
    assert turns(Budget.unbounded(), Budget.within(0.1e3)) == [1, 0]


def test_a_budget_that_was_cut_is_answered_at_once():
    cut = Budget.unbounded()
    cut.cut()
    assert turns(Budget.within(2e3), cut) == [1, 0]


def test_an_even_share_keeps_what_the_others_need():
    rng = np.random.default_rng(0)
    for _ in range(300):
        now, need = rng.random(), rng.random()
        deadlines = sorted(now + need * (i + 1) + rng.exponential(2.0) for i in range(rng.integers(1, 9)))
        until = even_share(now, needs(need, need + rng.exponential(2.0)), deadlines)
        assert until >= now + need - 1e-9 and until <= deadlines[0] + 1e-9
        assert all(until + n * need <= d + 1e-9 for n, d in enumerate(deadlines[1:], start=1))


def test_an_even_share_by_hand():
    assert even_share(10.0, needs(1.0), [18.0]) == 18.0
    assert even_share(10.0, needs(1.0), [18.0, 18.0]) == 14.0
    assert even_share(10.0, needs(1.0), [11.0, 18.0]) == 11.0
    assert even_share(10.0, needs(1.0), [18.0, 19.0, 19.0]) == 13.0
    assert even_share(10.0, needs(1.0, 2.0), [18.0, 18.0]) == 16.0, "nobody could use more than two"
    assert even_share(10.0, needs(1.0, 2.0), [18.0, 19.0, 19.0]) == 15.0


def test_what_answers_take_is_what_the_policy_believes(make):
    fake = make()
    before = fake.runtime.policy.rules.before_ms
    assert needs_of(fake.runtime.policy) == pytest.approx(((before + 1.25) / 1e3, (before + 3.25) / 1e3))
    fake.engines.slow = 2.0
    for _ in range(50):
        fake.infer(FRAME, Budget.within(100))
    assert needs_of(fake.runtime.policy).least == pytest.approx(2 * (before + 1.25) / 1e3, rel=0.05)
    assert needs_of(make(policy=Untimed).runtime.policy) == (0.0, math.inf)


def test_a_share_follows_its_own_budget():
    own = Budget.within(8)
    shared = Shared(own, 100.0, 100.005)
    assert shared.deadline(100.003) == 100.005, "counted from the call, whenever its turn comes"
    own.revise(ms=2)
    assert shared.deadline(100.003) == pytest.approx(100.002) and shared.kind == "relative"
    own.revise(until=200.0)
    assert shared.deadline(100.003) == 100.005 and shared.kind == "absolute" and not shared.was_cut
    own.cut()
    assert shared.was_cut and shared.cut_at == own.cut_at
    assert next_turn({3: Budget.unbounded()}, 0.0, 0.0, needs(1.0)) == Turn(3, math.inf)


def test_answers_come_in_the_order_given_and_know_the_time_that_earlier_ones_took(make):
    fake = make()
    answers = fake.runtime.infer_many([FRAME] * 3, within(100, 3.4, 5))
    assert [a.waited_ms for a in answers] == pytest.approx([answers[2].elapsed_ms, 0.0, answers[1].elapsed_ms])
    assert [a.budget_ms for a in answers] == pytest.approx([100, 3.4, 5]) and all(a.met_deadline for a in answers)
    assert answers[0].exit == 4 and answers[0].preprocess_ms == pytest.approx(0.1)
    assert answers[0].elapsed_ms == pytest.approx(answers[0].waited_ms + LAST_MS)
    assert answers[0].to_dict()["waited_ms"] == answers[0].waited_ms and "waited_ms" not in answers[1].to_dict()


def test_one_frame_does_not_use_what_another_needs(make):
    # Alone either could have the last exit; one after the other the first takes it and the second is late.
    fake = make()
    start = fake.clock.now
    late = [fake.infer(FRAME, Budget.until(start + 3.4e-3)).met_deadline for _ in range(2)]
    assert late == [True, False]
    fake = make()
    answers = fake.runtime.infer_many([FRAME] * 2, within(3.4, 3.4))
    assert [a.met_deadline for a in answers] == [True, True] and [a.exit for a in answers] == [2, 2]


def test_time_that_one_leaves_over_goes_to_the_others(make):
    answers = make().runtime.infer_many([FRAME] * 3, within(*[3 * LAST_MS + 0.01] * 3))
    assert [a.exit for a in answers] == [4, 4, 4] and all(a.met_deadline for a in answers)


def test_more_frames_than_can_be_in_time(make):
    answers = make().runtime.infer_many([FRAME] * 5, within(*[2.1 * QUICKEST_MS] * 5))
    assert [a.met_deadline for a in answers] == [True, True, False, False, False]
    assert [a.elapsed_ms for a in answers] == pytest.approx([QUICKEST_MS * n for n in range(1, 6)])


def test_without_budgets_all_run_to_the_end(make):
    answers = make().runtime.infer_many([FRAME] * 2)
    assert [a.exit for a in answers] == [4, 4] and [a.met_deadline for a in answers] == [None, None]
    assert make().runtime.infer_many([]) == []
    mixed = make().runtime.infer_many([FRAME] * 2, [None, Budget.within(2.4)])
    assert [a.exit for a in mixed] == [4, 3] and mixed[0].budget_ms is None and mixed[1].waited_ms == 0.0


def test_a_frame_that_does_not_fit_does_not_lose_the_others(make):
    fake = make()
    with pytest.raises(StreamsError, match=r"^frame 1 of 3: a frame is a numpy array.*not str$") as caught:
        fake.runtime.infer_many([FRAME, "frame", FRAME], within(50, 40, 30))
    answers = caught.value.answers
    assert [a is None for a in answers] == [False, True, False] and list(caught.value.errors) == [1]
    assert answers[0].met_deadline and answers[0].exit == answers[2].exit == 4
    assert fake.infer(FRAME, Budget.within(50)).exit == 4, "and the runtime goes on"


def test_an_engine_that_fails_is_told_for_every_frame(make):
    fake = make()
    fake.engines.fails = {"segment-1"}
    with pytest.raises(
        StreamsError, match=r"^frame 0 of 2: unit segment-1 failed: out of order \(and 1 more\)$"
    ) as caught:
        fake.runtime.infer_many([FRAME] * 2)
    assert caught.value.answers == [None, None] and caught.value.exit_code == 1


@pytest.mark.parametrize("budgets", [within(1), within(1, 2, 3), []])
def test_as_many_budgets_as_frames(make, budgets):
    fake = make()
    with pytest.raises(BudgetError, match=f"there are 2 frames and {len(budgets)} budgets"):
        fake.runtime.infer_many([FRAME] * 2, budgets)
    with pytest.raises(BudgetError, match="not int"):
        fake.runtime.infer_many([FRAME], [5])
    assert fake.engines.ran == []


def test_a_budget_cut_while_its_frame_waits_is_answered_next(make):
    fake, waits = make(), Budget.within(1000)
    fake.engines.after = lambda name: waits.cut() if name == "segment-2" else None
    answers = fake.runtime.infer_many([FRAME] * 3, [Budget.within(20), Budget.within(30), waits])
    assert answers[2].waited_ms < answers[1].waited_ms and answers[2].exit == 1
