import numpy as np
import pytest

from calibration.quality import LEVEL, accuracy, mean_absolute_error
from jetson.errors import DataError


def one_hot(classes, n=3):
    return np.eye(n, dtype=np.float32)[classes]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Wilson's score interval at 95 %, worked out by hand from its formula with z = 1.959964.
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (90, 100, 0.8256, 0.9448),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_accuracy_comes_with_wilsons_interval(right, n, low, high):
    labels = np.zeros(n, np.int64)
    found = accuracy(one_hot([0] * right + [1] * (n - right)), labels, "test")
    assert found.value == right / n and found.n == n and found.level == LEVEL == 0.95
    assert found.low == pytest.approx(low, abs=1e-4) and found.high == pytest.approx(high, abs=1e-4)
    assert (found.metric, found.split) == ("accuracy", "test")


def test_the_interval_is_the_formulas():
    n, right, z = 300, 281, 1.959963984540054
    p = right / n
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = accuracy(one_hot([0] * right + [2] * (n - right)), np.zeros(n, np.int64), "calibration")
    assert [found.low, found.high] == pytest.approx(
        [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    )


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0, 99]])
def test_labels_that_are_no_class_are_refused(labels):
    with pytest.raises(DataError, match=r"the test split has labels outside 0\.\.2"):
        accuracy(one_hot([0, 1]), np.array(labels), "test")


def test_an_empty_split_has_no_quality():
    empty = np.zeros((0, 3), np.float32)
    with pytest.raises(DataError, match="the calibration split is empty"):
        accuracy(empty, np.zeros(0, np.int64), "calibration")
    with pytest.raises(DataError, match="the calibration split is empty"):
        mean_absolute_error(empty, empty, "calibration")


def test_the_mean_absolute_error_is_over_frames_and_outputs():
    values = np.array([[1, 1], [2, 4], [0, 0]], np.float32)
    targets = np.array([[0, 2], [2, 2], [3, 0]], np.float32)
    found = mean_absolute_error(values, targets, "test")
    assert found.value == pytest.approx((1.0 + 1.0 + 1.5) / 3) and found.n == 3
    assert found.low <= found.value <= found.high and found.metric == "mean_absolute_error"


def test_the_errors_interval_agrees_with_the_normal_one():
    rng = np.random.default_rng(0)
    errors = rng.exponential(2.0, (2000, 1)).astype(np.float32)
    found = mean_absolute_error(errors, np.zeros_like(errors), "test")
    half = 1.96 * errors.std() / np.sqrt(2000)
    assert found.value - found.low == pytest.approx(half, rel=0.1)
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert mean_absolute_error(errors, np.zeros_like(errors), "test") == found


def test_an_error_without_spread_has_an_interval_of_no_width():
    found = mean_absolute_error(np.ones((7, 2), np.float32), np.zeros((7, 2), np.float32), "test")
    assert found.value == found.low == found.high == 1.0


def test_targets_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"targets of shape \(2,\), the model gives \(1,\)"):
        mean_absolute_error(np.zeros((3, 1), np.float32), np.zeros((3, 2), np.float32), "test")
    with pytest.raises(DataError):
        mean_absolute_error(np.zeros((3, 1), np.float32), np.zeros((2, 1), np.float32), "test")


def test_accuracy_tells_each_classes_share():
    labels = np.array([0, 0, 0, 2, 2, 2, 2])
    found = accuracy(one_hot([0, 0, 1, 2, 2, 2, 0], 4), labels, "test")
    assert found.per_class == pytest.approx((2 / 3, -1, 0.75, -1), abs=1e-5) and found.value == pytest.approx(5 / 7)
    assert accuracy(one_hot([2, 2]), np.array([2, 2]), "test").per_class == (-1, -1, 1)
    assert mean_absolute_error(one_hot([0]), one_hot([0]), "test").per_class is None


def test_the_classes_shares_add_up_to_the_accuracy():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    found = accuracy(rng.normal(0, 1, (500, 5)).astype(np.float32), labels, "test")
    assert np.bincount(labels) @ np.array(found.per_class) / 500 == pytest.approx(found.value, abs=1e-5)
