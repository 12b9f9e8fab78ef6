"""What is learnt from recorded answers, on answers of which the truth is known."""

import msgspec
import numpy as np
import pytest

from jetson.beliefs import Posterior
from jetson.scheduling.outlook import BUCKETS, FRAMES, learn_outlook, plain_outlook, scale_of, worth_of
from tests.bundles import tiny_bundle
from tests.planning import answers, honest, values

JOINED = [Posterior(alone=(0.1, 0.9), joined=(-0.2, 0.6, 0.4, 0.8) if k else None) for k in range(4)]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("o")
    plain = tiny_bundle(folder / "c").manifest
    exits = tuple(msgspec.structs.replace(e, posterior=p) for e, p in zip(plain.exits, JOINED, strict=True))
    regression = tiny_bundle(folder / "r", task="regression", outputs=2, quality=[2.4, 1.2, 0.6, 0.3]).manifest
    return {
        "classification": plain,
        "posteriors": msgspec.structs.replace(plain, exits=exits),
        "regression": regression,
    }


def recorded(kind, n, seed=0):
    return values(n, seed=seed) if kind == "regression" else honest(n, seed=seed)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("n", [1, 10, 26, 49, 50, 120, 5000])
@pytest.mark.parametrize("kind", ["classification", "posteriors", "regression"])
def test_an_outlook_is_made_of_probabilities(manifests, kind, n):
    manifest, samples = manifests[kind], recorded(kind, n)
    outlook = learn_outlook(manifest, samples)
    buckets = max(min(BUCKETS, n // FRAMES), 1)
    assert outlook.buckets == buckets and outlook.edges.shape == (4, buckets - 1)
    assert outlook.worth.shape == outlook.first.shape == (4, buckets)
    assert outlook.move.shape == (4, 4, buckets, buckets)
    assert (outlook.first > 0.0).all() and outlook.first.sum(axis=1) == pytest.approx(1.0)
    for j, k in np.ndindex(4, 4):
        rows = outlook.move[j, k].sum(axis=1)
        assert (outlook.move[j, k] >= 0.0).all() and rows == pytest.approx(1.0 if j < k else 0.0)
    assert (np.diff(outlook.edges, axis=1) >= 0.0).all() and np.isfinite(outlook.edges).all()
    truth = worth_of(manifest, samples)
    assert (outlook.worth <= 1.0).all() and (outlook.worth >= truth.min() - 1e-9).all()


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_mean_over_the_buckets_is_what_the_exit_is_worth(manifests, kind):
    samples = recorded(kind, 4000)
    outlook, truth = learn_outlook(manifests[kind], samples), worth_of(manifests[kind], samples)
    assert (outlook.first * outlook.worth).sum(axis=1) == pytest.approx(truth.mean(axis=0), abs=2e-3)
    # Whatever was in hand, and on average over it, the next answer is worth that too.
    for j, k in ((0, 1), (0, 3), (2, 3)):
        through = outlook.first[j] @ outlook.move[j, k] @ outlook.worth[k]
        assert through == pytest.approx(truth[:, k].mean(), abs=0.01)


def test_buckets_order_what_answers_are_worth(manifests):
    samples = honest(40_000)
    outlook = learn_outlook(manifests["classification"], samples)
    assert (np.diff(outlook.worth, axis=1) > 0.0).all()
    score = samples.score
    for exit_ in range(4):
        where = np.searchsorted(outlook.edges[exit_], score[:, exit_], side="right")
        said = [sigmoid(score[where == b, exit_]).mean() for b in range(BUCKETS)]
        assert outlook.worth[exit_] == pytest.approx(said, abs=0.03)
        assert outlook.first[exit_] == pytest.approx(1.0 / BUCKETS, abs=0.01)


def test_a_sure_answer_is_followed_by_a_sure_one(manifests):
    outlook = learn_outlook(manifests["classification"], honest(20_000))
    for j, k in ((0, 1), (1, 2), (0, 3)):
        expected = outlook.move[j, k] @ np.arange(BUCKETS)
        assert (np.diff(expected) > 0.0).all()


def test_answers_that_say_nothing_are_worth_the_same_whatever_they_say(manifests):
    rng = np.random.default_rng(3)
    noise = answers(rng.normal(size=(20_000, 4)), rng.random((20_000, 4)) < [0.2, 0.5, 0.7, 0.9])
    outlook = learn_outlook(manifests["classification"], noise)
    assert outlook.worth == pytest.approx(np.repeat([[0.2], [0.5], [0.7], [0.9]], BUCKETS, axis=1), abs=0.04)
    assert outlook.move[0, 3] == pytest.approx(1.0 / BUCKETS, abs=0.03)


def test_in_regression_buckets_tell_easy_values_from_hard_ones(manifests):
    """Errors double where the first output is above 0."""
    outlook = learn_outlook(manifests["regression"], values(20_000))
    assert (outlook.worth[:, :2].mean(axis=1) > outlook.worth[:, -2:].mean(axis=1) + 0.03).all()


def test_answers_that_always_say_the_same_are_one_bucket_in_use(manifests):
    constant = answers(np.zeros((400, 4)), np.ones((400, 4), bool))
    outlook = learn_outlook(manifests["classification"], constant)
    assert (outlook.edges == 0.0).all() and (outlook.first[:, -1] > 0.95).all()
    assert outlook.worth == pytest.approx(1.0) and outlook.move.sum() == pytest.approx(6 * BUCKETS)


def test_a_few_frames_are_believed_a_little(manifests):
    """One frame of which the first exit is right: nothing is held for certain, and rows stay probabilities."""
    scores = np.linspace(-2.0, 2.0, 60)[:, None] * np.ones(4)
    outlook = learn_outlook(manifests["classification"], answers(scores, scores > 0.0))
    assert outlook.buckets == 2 and outlook.worth[0].tolist() == pytest.approx([2 / 34, 32 / 34])
    assert 0.9 < outlook.move[0, 1, 1, 1] < 1.0


def test_with_posteriors_worth_is_what_they_say(manifests):
    """Without them it is counted, which is the same on average and far less steady on few frames."""
    exits = manifests["classification"].exits
    honest_posteriors = [msgspec.structs.replace(e, posterior=Posterior(alone=(0.0, 1.0), joined=None)) for e in exits]
    sure = msgspec.structs.replace(manifests["classification"], exits=tuple(honest_posteriors))
    off = {}
    for kind, manifest in (("counted", manifests["classification"]), ("said", sure)):
        few = [learn_outlook(manifest, honest(400, seed=s)).worth for s in range(20)]
        truth = learn_outlook(manifest, honest(100_000, seed=99)).worth
        # Few frames are believed a little: the ends are drawn towards the middle.
        assert np.mean(few, axis=0) == pytest.approx(truth, abs=0.07)
        off[kind] = np.std(few, axis=0).mean()
    assert off["said"] < 0.5 * off["counted"]


def test_the_plain_outlook_of_a_classifier(manifests):
    outlook = plain_outlook(manifests["classification"])
    assert outlook.worth[:, 0] == pytest.approx([0.5, 0.5 + 0.4 / 3, 0.5 + 0.8 / 3, 0.9])
    assert outlook.buckets == 1 and outlook.edges.shape == (4, 0) and (outlook.first == 1.0).all()
    assert outlook.move[..., 0, 0].tolist() == np.triu(np.ones((4, 4)), 1).tolist()


def test_the_plain_outlook_of_a_regression(manifests):
    """Nothing at twice the worst exit's error, 1 without any."""
    manifest = manifests["regression"]
    assert scale_of(manifest) == 4.8
    assert plain_outlook(manifest).worth[:, 0] == pytest.approx([0.5, 0.75, 0.875, 0.9375])
    exact = values(5)
    exact = type(exact)(target=exact.target, output=np.repeat(exact.target[:, None], 4, axis=1))
    assert (worth_of(manifest, exact) == 1.0).all()


def test_a_regression_without_errors_has_an_outlook(tmp_path):
    manifest = tiny_bundle(tmp_path / "b", task="regression", outputs=2, quality=[0.0] * 4).manifest
    assert (plain_outlook(manifest).worth == 1.0).all()
