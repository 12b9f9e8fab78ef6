import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson.beliefs import Posterior
from jetson.confidence import CLIP, LIMIT, Belief, believe, logit, posterior_logits, scores

LOGITS = np.array([0.5, 3.0, -1.0, 2.0], np.float32)
POSTERIOR = Posterior(alone=(0.2, 0.9), joined=(-0.4, 0.7, 0.5, 1.1))


def softmax(logits, temperature):
    powers = np.exp(np.asarray(logits, np.float64) / temperature)
    return powers / powers.sum()


def in_hand(class_index, confidence):
    return Belief(class_index, confidence, logit(confidence), confidence)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def odds(probability):
    return math.log(probability / (1 - probability))


def test_without_a_posterior_the_softmax_says_it_whatever_is_in_hand():
    found = believe(LOGITS, 1.5)
    assert found.class_index == 1 and found.confidence == pytest.approx(softmax(LOGITS, 1.5)[1], rel=1e-12)
    assert found.alone == found.confidence and found.logit == pytest.approx(odds(found.confidence))
    assert believe(LOGITS, 1.5, None, in_hand(1, 0.99)) == found


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.5, 20.0])
def test_the_formula_is_the_records(temperature):
    said = odds(softmax(LOGITS, temperature).max())
    alone = sigmoid(0.2 + 0.9 * said)
    assert believe(LOGITS, temperature, POSTERIOR).confidence == pytest.approx(alone, rel=1e-9)
    for class_index, backing in ((1, 1.1 + 0.5 * odds(0.8)), (3, -0.5 * odds(0.8))):
        found = believe(LOGITS, temperature, POSTERIOR, in_hand(class_index, 0.8))
        assert found.confidence == pytest.approx(sigmoid(-0.4 + 0.7 * said + backing), rel=1e-9)
        assert found.alone == pytest.approx(alone, rel=1e-9) and found.class_index == 1
        assert found.logit == pytest.approx(odds(found.confidence), rel=1e-9)


def test_a_sure_answer_in_hand_backs_the_same_class_and_speaks_against_another():
    agree, differ = ([believe(LOGITS, 1.0, POSTERIOR, in_hand(c, p)).confidence for p in (0.6, 0.9)] for c in (1, 2))
    assert agree[0] < agree[1] and differ[0] > differ[1] and agree[1] > differ[1]


def test_an_exit_that_nothing_can_come_before_does_not_look_at_what_is_in_hand():
    first = Posterior(alone=(0.2, 0.9), joined=None)
    assert believe(LOGITS, 1.0, first, in_hand(1, 0.9)) == believe(LOGITS, 1.0, first)


@pytest.mark.parametrize(
    ("logits", "confidence"),
    [
        ([3e38, -3e38, 0.0], 1.0),
        ([-3e38, -3e38, -3e38], 1 / 3),
        ([0.0, 0.0], 0.5),
        ([7.0], 1.0),
        ([1e-45, 0.0], 0.5),
    ],
)
def test_any_finite_logits_are_a_confidence(logits, confidence):
    outputs = np.array(logits, np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = believe(outputs, 1e-3 if confidence == 1.0 else 1.5)
        stated = believe(outputs, 1.5, POSTERIOR, found)
    assert found.confidence == pytest.approx(confidence) and found.class_index == 0 and abs(found.logit) <= LIMIT
    assert CLIP * 0.999 <= stated.confidence <= 1 - CLIP * 0.999
    assert outputs.tolist() == np.array(logits, np.float32).tolist()


def test_the_first_of_equal_classes_answers_as_argmax_has_it():
    assert believe(np.array([1.0, 2.0, 2.0], np.float32), 1.0).class_index == 1


def test_a_confidence_near_one_keeps_what_float32_would_lose():
    """In float32 these two would be the same number."""
    close = [believe(np.array([margin, 0.0], np.float32), 1.0).logit for margin in (12.0, 12.5)]
    assert close == pytest.approx([12.0, 12.5], rel=1e-9)


@pytest.mark.parametrize(
    ("probability", "found"),
    [(0.0, -LIMIT), (1e-9, -LIMIT), (CLIP, -LIMIT), (0.5, 0.0), (1 - CLIP, LIMIT), (1.0, LIMIT), (0.9, math.log(9))],
)
def test_the_logit_of_a_probability_is_clipped(probability, found):
    assert logit(probability) == pytest.approx(found, rel=1e-9)


WEIGHTS = st.floats(-1e6, 1e6)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    outputs=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=12),
    temperature=st.floats(1e-3, 1e3),
    alone=st.tuples(WEIGHTS, WEIGHTS),
    joined=st.none() | st.tuples(WEIGHTS, WEIGHTS, WEIGHTS, WEIGHTS),
    before=st.none() | st.tuples(st.integers(0, 11), st.floats(0, 1)),
)
def test_whatever_a_manifest_may_hold_is_a_probability(outputs, temperature, alone, joined, before):
    held = None if before is None else in_hand(*before)
    found = believe(np.array(outputs, np.float32), temperature, Posterior(alone=alone, joined=joined), held)
    assert 0 < found.confidence < 1 and 0 < found.alone < 1 and abs(found.logit) <= LIMIT
    assert found.class_index == np.argmax(np.array(outputs, np.float32))


FRAMES = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.lists(
            st.floats(allow_nan=False, allow_infinity=False, width=32) | st.floats(-20, 20, width=32),
            min_size=width,
            max_size=width,
        ),
        min_size=1,
        max_size=8,
    )
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(frames=FRAMES, temperature=st.floats(1e-3, 1e3))
def test_scores_of_many_frames_are_what_each_alone_gives(frames, temperature):
    outputs = np.array(frames, np.float32)
    kept = outputs.copy()
    class_index, logits = scores(outputs, temperature)
    found = [believe(row, temperature) for row in outputs]
    assert class_index.tolist() == [b.class_index for b in found] and class_index.shape == logits.shape
    assert logits == pytest.approx([b.logit for b in found], rel=1e-9, abs=1e-9) and logits.dtype == np.float64
    assert np.array_equal(outputs, kept)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    frames=FRAMES,
    temperature=st.floats(1e-2, 1e2),
    alone=st.tuples(st.floats(-30, 30), st.floats(0, 4)),
    joined=st.none() | st.tuples(st.floats(-30, 30), st.floats(0, 4), st.floats(0, 4), st.floats(-30, 30)),
    data=st.data(),
)
def test_posteriors_of_many_frames_are_what_each_alone_gives(frames, temperature, alone, joined, data):
    outputs, posterior = np.array(frames, np.float32), Posterior(alone=alone, joined=joined)
    n, width = outputs.shape
    class_index, said = scores(outputs, temperature)
    held = [
        in_hand(*pair)
        for pair in data.draw(st.lists(st.tuples(st.integers(0, width - 1), st.floats(0, 1)), min_size=n, max_size=n))
    ]
    before = {
        "before_logit": np.array([b.logit for b in held]),
        "before_class": np.array([b.class_index for b in held]),
    }
    nothing = [None] * n
    for of, hand, given_hand in (
        (None, nothing, {}),
        (None, held, before),
        (posterior, nothing, {}),
        (posterior, held, before),
    ):
        found = posterior_logits(said, class_index, of, **given_hand)
        expected = [believe(row, temperature, of, b).logit for row, b in zip(outputs, hand, strict=True)]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_single_precision_scores_are_lifted_before_the_formula():
    class_index, said = scores(np.stack([LOGITS, -LOGITS]), 1.5)
    found = posterior_logits(said.astype(np.float32), class_index.astype(np.int32), POSTERIOR)
    assert found.dtype == np.float64 and found == pytest.approx(
        posterior_logits(said, class_index, POSTERIOR), rel=1e-6
    )
