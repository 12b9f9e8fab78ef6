import numpy as np
import pytest

from calibration.conformal import LEVEL, interval
from jetson.errors import DataError


def column(values):
    return np.array(values, np.float32)[:, None]


@pytest.mark.parametrize(
    ("n", "level", "rank"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (69, 0.9, 63), (4, 0.5, 3), (19, 0.95, 19)],
)
def test_the_width_is_the_residual_of_that_rank(n, level, rank):
    residuals = np.random.default_rng(n).permutation(np.arange(1, n + 1))
    signs = np.where(np.arange(n) % 2, 1, -1)
    found = interval(column(residuals * signs), column([0] * n), "fit", level)
    assert found.half_width == (float(rank),) and (found.level, found.n, found.split) == (level, n, "fit")


def test_every_output_has_its_own_width():
    values = np.stack([np.arange(20), 10.0 * np.arange(20)], axis=1).astype(np.float32)
    assert interval(values, np.zeros_like(values), "fit").half_width == (18.0, 180.0)


@pytest.mark.parametrize("n", [20, 199])
def test_new_frames_lie_inside_as_often_as_stated(n):
    """Residuals that are neither normal nor symmetric; on average over calibrations the share is rank / (n + 1)."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(1500):
        values, truth = np.zeros((n + 50, 1), np.float32), rng.gamma(0.7, 3.0, (n + 50, 1)).astype(np.float32)
        (width,) = interval(values[:n], truth[:n], "fit").half_width
        inside.append((np.abs(truth[n:]) <= width).mean())
    expected = np.ceil(round((n + 1) * LEVEL, 9)) / (n + 1)
    assert LEVEL <= expected < LEVEL + 1 / n
    assert np.mean(inside) == pytest.approx(expected, abs=4 * np.std(inside) / np.sqrt(1500))


@pytest.mark.parametrize(("n", "level", "need"), [(8, 0.9, 9), (0, 0.9, 9), (18, 0.95, 19), (98, 0.99, 99)])
def test_too_few_frames_for_the_level_are_refused(n, level, need):
    values = np.zeros((n, 1), np.float32)
    with pytest.raises(DataError, match=f"needs at least {need} held-out frames; the fit split has {n}$"):
        interval(values, values, "fit", level)
    more = np.zeros((need, 1), np.float32)
    assert interval(more, more, "fit", level).half_width == (0.0,)


def test_what_has_no_residual_is_refused():
    values = np.zeros((20, 2), np.float32)
    with pytest.raises(DataError, match=r"targets of shape \(20, 1\), the model gives \(20, 2\)"):
        interval(values, values[:, :1], "fit")
    values[3, 1] = np.nan
    with pytest.raises(DataError, match="the fit split has NaN or infinite values"):
        interval(values, np.zeros_like(values), "fit")
