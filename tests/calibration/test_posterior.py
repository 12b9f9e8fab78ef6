import sys

import numpy as np
import pytest

from calibration.posterior import fit_posteriors, joined_features, predict
from jetson.confidence import LIMIT
from jetson.errors import MissingExtra


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def log_loss(logits, right):
    return float((np.logaddexp(0, logits) - right * logits).mean())


def constant_loss(right):
    share = right.mean()
    return 0.0 if share in (0, 1) else float(-(share * np.log(share) + (1 - share) * np.log(1 - share)))


def alone_logits(posterior, said):
    return np.clip(posterior.alone[0] + posterior.alone[1] * said, -LIMIT, LIMIT)


def ways_to(posteriors, said, classes, k):
    """Logits of exit k's posterior with each answer that may be in hand: every earlier exit, then the whole chain."""
    chain = alone_logits(posteriors[0], said[:, 0])
    for j in range(1, k):
        features = joined_features(said[:, j], chain, classes[:, j - 1] == classes[:, j])
        chain = predict(features, posteriors[j].joined)
    held = [(alone_logits(posteriors[j], said[:, j]), j) for j in range(k)] + [(chain, k - 1)]
    return [
        predict(joined_features(said[:, k], p, classes[:, j] == classes[:, k]), posteriors[k].joined) for p, j in held
    ]


def chained_exits(n, seed=0, exits=4, classes=5):
    """Exits whose errors go together, the deeper the better: noisy logits of one truth, as (said, classes, labels)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    noise = rng.normal(0, 1.5, (n, classes))
    said, named = np.empty((n, exits)), np.empty((n, exits), np.int64)
    for k in range(exits):
        noise = 0.7 * noise + rng.normal(0, 0.8, (n, classes))
        logits = (1.5 + 0.4 * k) * np.eye(classes)[labels] + noise
        named[:, k] = logits.argmax(axis=1)
        top = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
        said[:, k] = np.log(top / (1 - top))
    return said, named, labels


def test_the_weights_that_made_the_data_are_found():
    rng = np.random.default_rng(0)
    said = rng.normal(1, 2, (60_000, 1))
    right = rng.random((60_000, 1)) < sigmoid(0.5 + 0.8 * said)
    (found,) = fit_posteriors(said, np.zeros_like(said, np.int64), right)
    assert found.alone == pytest.approx((0.5, 0.8), abs=0.05) and found.joined is None


def test_what_is_in_hand_is_weighed_as_the_data_say():
    rng = np.random.default_rng(1)
    said = rng.normal(1, 1.5, (60_000, 2))
    same = rng.random(60_000) < 0.7
    first = rng.random(60_000) < sigmoid(said[:, 0])
    weights = (-0.5, 0.6, 0.4, 1.0)
    second = rng.random(60_000) < sigmoid(joined_features(said[:, 1], said[:, 0], same) @ np.array(weights))
    classes = np.stack([np.zeros(60_000, np.int64), (~same).astype(np.int64)], axis=1)
    found = fit_posteriors(said, classes, np.stack([first, second], axis=1))[1]
    assert found.joined == pytest.approx(weights, abs=0.06)


def test_every_way_to_an_exit_is_calibrated_on_frames_that_were_not_fitted():
    said, classes, labels = chained_exits(40_000)
    right = classes == labels[:, None]
    posteriors = fit_posteriors(said[::2], classes[::2], right[::2])
    said, classes, right = said[1::2], classes[1::2], right[1::2]
    for k in range(1, 4):
        ways = ways_to(posteriors, said, classes, k)
        plain = log_loss(alone_logits(posteriors[k], said[:, k]), right[:, k])
        *pairs, chain = (log_loss(logits, right[:, k]) for logits in ways)
        assert (np.mean(pairs) + chain) / 2 < plain, "what is in hand tells something"
        for logits in ways:
            stated = sigmoid(logits)
            assert stated.mean() == pytest.approx(right[:, k].mean(), abs=0.02)
            for low, high in ((0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1)):
                rows = (stated > low) & (stated <= high)
                if rows.sum() > 500:
                    assert stated[rows].mean() == pytest.approx(right[rows, k].mean(), abs=0.06)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [32, 200])
def test_no_model_is_worse_than_a_constant_on_the_frames_it_saw(seed, n):
    rng = np.random.default_rng(seed)
    said = rng.normal(rng.normal(), 3, (n, 3))
    classes = rng.integers(0, 2, (n, 3))
    right = rng.random((n, 3)) < rng.random(3)  # no score tells anything
    posteriors = fit_posteriors(said, classes, right)
    smoothed = 2 / n  # of an exit that is always right or always wrong
    for k, posterior in enumerate(posteriors):
        bound = max(constant_loss(right[:, k]), smoothed if right[:, k].mean() in (0, 1) else 0) + 1e-9
        assert log_loss(alone_logits(posterior, said[:, k]), right[:, k]) <= bound
        if k:
            *pairs, chain = (log_loss(u, right[:, k]) for u in ways_to(posteriors, said, classes, k))
            assert (np.mean(pairs) + chain) / 2 <= bound


def test_a_score_that_misleads_is_left_out_and_never_turned_round():
    rng = np.random.default_rng(2)
    said = rng.normal(0, 2, (500, 2))
    right = np.stack([said[:, 0] < 0.5, said[:, 1] + said[:, 0] < 0.5], axis=1)
    first, second = fit_posteriors(said, np.zeros((500, 2), np.int64), right)
    assert first.alone[1] == 0 and sigmoid(first.alone[0]) == pytest.approx(right[:, 0].mean(), abs=0.02)
    assert second.joined[1] == 0 and second.joined[2] >= 0


@pytest.mark.parametrize("always", [True, False])
def test_an_exit_that_is_always_right_or_wrong_is_finite_and_not_certain(always):
    rng = np.random.default_rng(3)
    said = rng.normal(2, 1, (100, 3))
    right = np.full((100, 3), always)
    posteriors = fit_posteriors(said, np.zeros((100, 3), np.int64), right)
    for k, posterior in enumerate(posteriors):
        assert np.isfinite([*posterior.alone, *(posterior.joined or ())]).all()
        stated = sigmoid(
            np.concatenate([alone_logits(posterior, said[:, k])] + (ways_to(posteriors, said, right, k) if k else []))
        )
        assert (stated > 0.9).all() if always else (stated < 0.1).all()
        assert 0.002 < np.abs(stated - always).mean() < 0.03


def test_a_score_that_parts_right_from_wrong_gives_bounded_weights():
    said = np.concatenate([np.linspace(-13, -1, 50), np.linspace(1, 13, 50)])[:, None].repeat(3, axis=1)
    posteriors = fit_posteriors(said, np.zeros((100, 3), np.int64), said > 0)
    weights = [w for p in posteriors for w in (*p.alone, *(p.joined or ()))]
    assert np.abs(weights).max() < 20
    assert log_loss(alone_logits(posteriors[0], said[:, 0]), said[:, 0] > 0) < 0.1


def test_saturated_scores_are_no_trouble():
    said = np.full((64, 2), LIMIT)
    right = np.ones((64, 2), bool)
    right[:16] = False
    for posterior in fit_posteriors(said, np.zeros((64, 2), np.int64), right):
        assert sigmoid(alone_logits(posterior, LIMIT)) == pytest.approx(0.75, abs=0.03)


def test_few_frames_leave_the_plain_score_nearly_as_it_is():
    said, classes, labels = chained_exits(40, seed=4, exits=2)
    for posterior in fit_posteriors(said, classes, classes == labels[:, None]):
        assert posterior.alone == pytest.approx((0, 1), abs=0.5)


def test_without_scipy_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingExtra, match=r"scipy is not installed: pip install 'offramp\[host\]'"):
        fit_posteriors(np.zeros((40, 1)), np.zeros((40, 1), np.int64), np.ones((40, 1), bool))
