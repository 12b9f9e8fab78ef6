"""Ranges against closed forms, against trying everything, and where a method must not be fooled."""

import math

import numpy as np
import pytest

from calibration.int8.histogram import BINS, Histogram
from calibration.int8.ranges import ENTROPY_LEVELS, METHODS, divergence, mean_square, range_of
from jetson.errors import BadInput

RNG = np.random.default_rng(0)
GAUSSIAN = RNG.normal(size=300_000).astype(np.float32)
LAPLACE = RNG.laplace(size=300_000).astype(np.float32)
UNIFORM = RNG.uniform(-1, 1, size=300_000).astype(np.float32)


def squared_error(values, threshold):
    step = threshold / 127
    return float(np.square(np.clip(np.rint(values / step), -127, 127) * step - values, dtype=np.float64).mean())


def found(values, method):
    return range_of(Histogram.of(values), method)


def test_the_methods():
    assert METHODS == ("minmax", "percentile", "entropy", "mse")


@pytest.mark.parametrize("values", [GAUSSIAN, LAPLACE, UNIFORM], ids=["Gaussian", "Laplace", "uniform"])
def test_minmax_is_the_largest_value(values):
    assert found(values, "minmax") == np.abs(values).max()


@pytest.mark.parametrize("values", [GAUSSIAN, LAPLACE, UNIFORM], ids=["Gaussian", "Laplace", "uniform"])
@pytest.mark.parametrize("percentile", [99.99, 99.0, 50.0])
def test_a_percentile_is_the_edge_of_the_bin_it_falls_into(values, percentile):
    histogram = Histogram.of(values)
    exact = np.quantile(np.abs(values), percentile / 100)
    width = histogram.maximum / BINS
    assert -1e-6 <= range_of(histogram, "percentile", percentile) - exact <= 1.001 * width


def test_all_percent_are_the_largest_value():
    assert range_of(Histogram.of(GAUSSIAN), "percentile", 100.0) == np.abs(GAUSSIAN).max()


@pytest.mark.parametrize("values", [GAUSSIAN, LAPLACE, UNIFORM], ids=["Gaussian", "Laplace", "uniform"])
def test_mse_is_as_good_as_trying_everything_on_the_values_themselves(values):
    best = min(squared_error(values, t) for t in np.linspace(0.01, 1, 300) * np.abs(values).max())
    assert squared_error(values, found(values, "mse")) <= 1.005 * best


def test_mse_of_known_distributions():
    # A twelfth of a squared step inside the range, and beyond it the second moment of a Gaussian's tails about it.
    t = np.linspace(3, 5, 20_001)
    tail = np.array([math.erfc(x / math.sqrt(2)) for x in t])
    density = np.exp(-t * t / 2) * math.sqrt(2 / math.pi)
    error = t * t / 12 / 127**2 * (1 - tail) + (1 + t * t) * tail - t * density
    optimum = t[error.argmin()]
    assert found(GAUSSIAN, "mse") == pytest.approx(optimum, rel=0.02) == pytest.approx(4.0, abs=0.1)
    # A uniform one keeps all but the half step that is rounded to the last level anyway.
    assert found(UNIFORM, "mse") == pytest.approx(127 / 127.5, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_of_a_uniform_distribution_every_method_keeps_all(method):
    assert found(UNIFORM, method) == pytest.approx(1.0, rel=5e-3)


def test_the_mean_square_of_a_bin_is_its_integral():
    edges = np.array([0.0, 0.3, 0.31, 0.9, 1.4, 2.0, 2.6])
    for threshold in (0.05, 1.0, 2.5):
        for bin_, value in enumerate(mean_square(edges, threshold)):
            inside = np.linspace(edges[bin_], edges[bin_ + 1], 200_001)
            assert value == pytest.approx(squared_error(inside, threshold), rel=1e-3)


@pytest.mark.parametrize(("method", "most"), [("percentile", 5.5), ("entropy", 5.5), ("mse", 34.0)])
def test_a_single_outlier_is_clipped(method, most):
    values = GAUSSIAN.copy()
    values[7] = 40
    assert found(values, method) < most < found(values, "minmax") == 40


def naive_divergence(counts, kept):
    """The pseudo code of the talk, bin by bin."""
    reference = [float(c) for c in counts[:kept]]
    reference[-1] += float(sum(counts[kept:]))
    candidate = [0.0] * kept
    for level in range(ENTROPY_LEVELS):
        bins = range(level * kept // ENTROPY_LEVELS, (level + 1) * kept // ENTROPY_LEVELS)
        hit = [b for b in bins if reference[b]]
        for b in hit:
            candidate[b] = max(sum(float(counts[c]) for c in bins) / len(hit), 1e-4)
    p, q = sum(reference), sum(candidate)
    return sum(r / p * math.log(r / p / (c / q)) for r, c in zip(reference, candidate, strict=True) if r)


def test_the_divergence_is_the_talks():
    sparse = RNG.poisson(0.3, 400)
    smooth = (1000 * np.exp(-np.linspace(0, 6, 400))).astype(np.int64)
    for counts in (sparse, smooth):
        for kept in (128, 129, 200, 255, 256, 399, 400):
            assert divergence(counts, kept) == pytest.approx(
                naive_divergence(counts.tolist(), kept), rel=1e-9, abs=1e-12
            )


def test_entropy_takes_the_least_divergence():
    counts = Histogram.of(LAPLACE, bins=300).counts
    best = min(range(128, 301), key=lambda kept: divergence(counts, kept))
    assert range_of(Histogram(3.0, counts), "entropy") == pytest.approx(3.0 * best / 300)


def test_a_histogram_of_few_bins_has_no_choice_of_entropy():
    assert range_of(Histogram.of(GAUSSIAN, bins=64), "entropy") == np.abs(GAUSSIAN).max()


@pytest.mark.parametrize("method", METHODS)
def test_zeros_do_not_change_a_range(method):
    """As behind a ReLU."""
    positive = np.maximum(GAUSSIAN, 0)
    assert found(positive, method) > 0.9 * found(np.abs(GAUSSIAN), method)


@pytest.mark.parametrize("method", METHODS)
def test_one_value_throughout_is_kept(method):
    assert found(np.full(1000, -3.0, np.float32), method) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [np.zeros(10, np.float32), np.zeros(0, np.float32)], ids=["zeros", "nothing"])
def test_zero_throughout_has_the_range_zero(method, values):
    assert found(values, method) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_every_histogram_has_a_range(method):
    for _ in range(20):
        counts = RNG.poisson(RNG.choice([0.01, 1, 100]), 500) * RNG.integers(0, 2, 500)
        counts[-1] += 1
        assert 0 < range_of(Histogram(2.5, counts), method) <= 2.5


def test_a_range_grows_with_its_tensor():
    for method in METHODS:
        assert found(GAUSSIAN * np.float32(1e-3), method) == pytest.approx(1e-3 * found(GAUSSIAN, method), rel=2e-3)


@pytest.mark.parametrize(
    ("method", "percentile", "says"),
    [
        ("best", 99.99, "unknown method 'best'; the methods are minmax, percentile, entropy, mse"),
        ("percentile", 0.0, r"a percentile of 0\.0 cannot be had"),
        ("percentile", 100.5, r"a percentile of 100\.5 cannot be had"),
        ("percentile", float("nan"), "a percentile of nan cannot be had"),
    ],
)
def test_what_cannot_be_asked_for(method, percentile, says):
    with pytest.raises(BadInput, match=says):
        range_of(Histogram.of(UNIFORM), method, percentile)


def test_a_histogram_is_numpys():
    histogram = Histogram.of(GAUSSIAN, bins=100)
    expected, _ = np.histogram(np.abs(GAUSSIAN), 100, (0, np.abs(GAUSSIAN).max()))
    assert np.abs(histogram.counts - expected).sum() <= 4  # values on an edge
    assert histogram.total == len(GAUSSIAN) and len(histogram.edges) == 101


def test_histograms_add_up_and_take_what_is_too_large():
    whole = Histogram.of(GAUSSIAN, 3.0)
    parts = [Histogram.of(part, 3.0) for part in np.split(GAUSSIAN, 3)]
    assert (sum(parts[1:], parts[0]).counts == whole.counts).all()
    assert whole.counts[-1] >= (np.abs(GAUSSIAN) >= 3).sum()


def test_values_at_the_end_of_float32():
    histogram = Histogram.of(np.array([3e38, -1.5e38, 1.0], np.float32), bins=4)
    assert histogram.counts.tolist() == [1, 0, 1, 1] and np.isfinite(range_of(histogram, "mse"))
