import numpy as np
import pytest

from calibration.confidence import fit_temperature
from jetson.errors import DataError


def drawn(scale, n=20_000, classes=5, seed=0):
    """Labels drawn from the softmax of logits, and those logits times `scale`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return (scale * logits).astype(np.float32), labels


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0, 8.0])
def test_a_known_scale_is_recovered(scale):
    assert fit_temperature(*drawn(scale)) == pytest.approx(scale, rel=0.05)


def test_the_largest_logit_stays_the_largest():
    logits, labels = drawn(3.0, n=200)
    scaled = logits / fit_temperature(logits, labels)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.array([[9.0, 0.0], [0.0, 9.0]]), [0, 1]),  # never wrong
        (np.array([[9.0, 0.0], [0.0, 9.0]]), [1, 0]),  # never right
        (np.zeros((4, 3)), [0, 1, 2, 0]),  # no opinion
        (np.array([[1e30, -1e30]]), [0]),
        (np.array([[3e38, 0.0], [3e38, 0.0]]), [0, 1]),
        (np.array([[1.0, 0.0]]), [0]),
    ],
)
def test_extreme_logits_give_a_temperature_that_a_bundle_takes(logits, labels):
    found = fit_temperature(logits.astype(np.float32), np.array(labels))
    assert 0.04 < found < 21


@pytest.mark.parametrize("labels", [[0, 3], [0, -1]])
def test_labels_that_are_no_class_are_refused(labels):
    with pytest.raises(DataError, match=r"labels outside 0\.\.2"):
        fit_temperature(np.zeros((2, 3), np.float32), np.array(labels))


def test_without_frames_there_is_no_temperature():
    with pytest.raises(DataError, match="no frames to fit a temperature to"):
        fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(bad):
    logits = np.zeros((5, 3), np.float32)
    logits[2, 1] = logits[4, 0] = bad
    with pytest.raises(DataError, match="2 of 5 frames have NaN or infinite logits; look for broken frames") as told:
        fit_temperature(logits, np.zeros(5, np.int64))
    assert "\n" not in str(told.value)


def test_frames_that_are_all_answered_rightly_do_not_make_every_score_one():
    logits = np.eye(4, dtype=np.float32)[np.arange(400) % 4] * np.linspace(2, 8, 400, dtype=np.float32)[:, None]
    found = fit_temperature(logits, np.arange(400) % 4)
    top = 1 / (1 + 3 * np.exp(-logits.max(axis=1) / found))
    assert found > 0.1 and top.max() - top.min() > 0.001


@pytest.mark.parametrize("classes", [1, 3])
def test_logits_that_say_nothing_leave_the_temperature_at_one(classes):
    assert fit_temperature(np.zeros((6, classes), np.float32), np.zeros(6, np.int64)) == pytest.approx(1, abs=1e-3)


def test_frames_of_one_class_still_have_a_temperature():
    logits, labels = drawn(2.0)
    rows = labels == 1
    assert fit_temperature(logits[rows], labels[rows]) == pytest.approx(2.0, rel=0.2)
