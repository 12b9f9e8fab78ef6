"""Frames of `infer_many` that are answered together: which, how, and what becomes of them when something fails."""

from types import SimpleNamespace

import numpy as np
import pytest

from jetson import Budget, Runtime
from jetson.errors import StreamsError
from jetson.profiling.measure import measure
from jetson.scheduling.batching import gaining
from jetson.scheduling.budget import clock
from jetson.scheduling.planner import Planner
from jetson.together import Together
from tests.batches import FakeBatches, any_number, with_batches
from tests.bundles import fake_profile, tiny_bundle
from tests.planning import virtual

FRAME = np.zeros((8, 8), np.uint8)
HALF = {2: 0.5, 4: 0.5}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return any_number(tiny_bundle(tmp_path_factory.mktemp("b") / "bundle"))


@pytest.fixture
def make(bundle, monkeypatch):
    """A function that makes a runtime on a virtual clock; a batch takes half of its frames' time."""
    opened = []

    def start(shares=HALF):
        profile = with_batches(fake_profile(bundle, preprocess_ms=0.01), shares)
        made = virtual(bundle, profile, Planner(bundle.manifest, profile), preprocess_ms=0.0)
        opened.append(made)
        fake = made.__enter__()
        for module in ("streams", "together", "batches"):
            monkeypatch.setattr(f"jetson.{module}.clock", fake.clock)
        batches = FakeBatches(fake.engines, shares)
        fake.runtime._together = Together(bundle.manifest, batches)
        return SimpleNamespace(**vars(fake), batches=batches, many=fake.runtime.infer_many)

    yield start
    for made in opened:
        made.__exit__(None, None, None)


def within(*ms):
    return [Budget.within(m) for m in ms]


def test_what_cannot_be_had_one_by_one_is_had_together(make):
    # Four frames to the last exit take 13 ms, together half of it.
    fake = make()
    answers = fake.many([FRAME] * 4, within(7, 7, 7, 7))
    assert [(a.exit, a.together, a.met_deadline) for a in answers] == [(4, 4, True)] * 4
    assert answers[3].elapsed_ms == pytest.approx(6.5, abs=0.1) and answers[3].waited_ms == 0.0
    assert answers[0].to_dict()["together"] == 4 and [r.unit for r in answers[0].trace][-1] == "head"


def test_with_time_for_all_every_frame_has_its_own_turn(make):
    fake = make()
    answers = fake.many([FRAME] * 4, within(50, 50, 50, 50))
    assert [a.together for a in answers] == [1] * 4 and fake.batches.ran == []
    assert "together" not in answers[0].to_dict()


def test_a_batch_that_saves_nothing_is_never_made(make):
    fake = make({2: 1.0, 4: 0.96})
    assert gaining(fake.runtime.policy.profile) == {}
    answers = fake.many([FRAME] * 4, within(7, 7, 7, 7))
    assert [a.together for a in answers] == [1] * 4


def test_a_device_that_has_become_slower_makes_batches_where_it_made_none(make):
    fake = make()
    for _ in range(3):
        fake.infer(FRAME, Budget.within(100))
    assert [a.together for a in fake.many([FRAME] * 2, within(8, 8))] == [1, 1]
    fake.engines.slow = 2.0
    for _ in range(20):
        fake.infer(FRAME, Budget.within(100))
    assert [a.together for a in fake.many([FRAME] * 2, within(8, 8))] == [2, 2]


def test_the_pace_that_a_batch_teaches_is_that_of_the_device(make):
    fake = make()
    for slow in (1.0, 1.5):
        fake.engines.slow = slow
        for _ in range(30):
            answers = fake.many([FRAME] * 4, within(*[7 * slow] * 4))
        assert [a.together for a in answers] == [4] * 4
        assert fake.runtime.policy.slowdown == pytest.approx(slow, rel=0.03)


def test_budgets_that_are_unknown_revised_or_without_limit_stay_out(make):
    fake, revised = make(), Budget.within(3)
    revised.revise(ms=7)
    budgets = [*within(7, 7.01), revised, Budget.unknown(), Budget.unbounded()]
    answers = fake.many([FRAME] * 5, budgets)
    assert [a.together for a in answers][2:] == [1, 1, 1]
    cut = Budget.within(7)
    cut.cut()
    assert fake.many([FRAME] * 3, [cut, *within(7, 7)])[0].together == 1


def test_a_frame_that_does_not_fit_leaves_the_others_to_their_batch(make):
    fake = make()
    with pytest.raises(StreamsError, match="frame 1 of 5") as caught:
        fake.many([FRAME, "frame", FRAME, FRAME, FRAME], within(7, 7, 7, 7, 7.1))
    answers = caught.value.answers
    assert [a and a.together for a in answers] == [4, None, 4, 4, 4] and list(caught.value.errors) == [1]


def test_a_unit_that_fails_on_a_batch_leaves_every_frame_its_own_turn(make):
    fake = make()
    fake.batches.fails = {"segment-2"}
    answers = fake.many([FRAME] * 4, within(7, 7, 7, 7))
    assert all("no room for" in a.error for a in answers) and {a.together for a in answers} == {1}
    tried = len(fake.batches.ran)
    assert all(a.error is None for a in fake.many([FRAME] * 4, within(7, 7, 7, 7)))
    assert len(fake.batches.ran) == tried, "and it is not tried again"


def test_one_frame_whose_answer_is_none_is_answered_alone(make):
    fake = make()
    fake.batches.spoilt = {2}
    answers = fake.many([FRAME] * 4, within(7, 7, 7, 7))
    assert [a.together for a in answers] == [4, 4, 1, 4]
    assert "NaN" in answers[2].error and all(answers[i].error is None for i in (0, 1, 3))


def test_measured_batches_give_the_answers_of_one_at_a_time(bundle):
    profile = measure(bundle, rounds=1, warm_up=0, seconds=0, batches=(2, 3))
    assert [(b.frames, b.exits[0].end_to_end_ms.n, b.in_turn[3].end_to_end_ms.n) for b in profile.batches] == [
        (2, 10, 10),
        (3, 10, 10),
    ]
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    runtime = Runtime.load(bundle, with_batches(profile, {3: 0.01}), batches=True)
    alone = [runtime.infer(f) for f in frames]
    in_batches = runtime._in_batches()
    assert in_batches is not None and in_batches.batching.sizes == [3]
    answers = in_batches.answer(list(frames), within(50, 50, 50), 3, clock())
    for one, many in zip(alone, answers, strict=True):
        assert many.together == 3 and many.exit == 4
        np.testing.assert_allclose(many.output, one.output, atol=1e-6)
        assert many.confidence == pytest.approx(one.confidence, abs=1e-6)
    runtime.close()
    assert Runtime.load(bundle, profile)._together is None, "off unless asked for"
