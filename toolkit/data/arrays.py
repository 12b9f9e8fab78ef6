"""Arrays out of .npy and .npz files, without pickles, and the checks that make them images and targets."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jetson.errors import DataError
from jetson.files import storage
from toolkit.data.wording import one_line

# What numpy and zipfile raise on a damaged file: the zip, its compression, the header's text (a Python literal, so
# anything a parser says), the size the header claims.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    # Encryption, compression methods this Python does not have, and nesting without end.
    RuntimeError,
)


def read_npy(path: Path) -> np.ndarray:
    """The array in a .npy file.

    Raises:
        DataError: the file is damaged, or holds Python objects.
        StorageError: the file cannot be read.
    """
    content = _load(path)
    if not isinstance(content, np.ndarray):
        content.close()
        raise DataError(f"{path}: an archive of several arrays; rename it to .npz")
    return content


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array in an .npz file by its key; raises as `read_npy` does."""
    content = _load(path)
    if isinstance(content, np.ndarray):
        raise DataError(f"{path}: a single array; rename it to .npy")
    try:
        with content, storage(path, "read"):
            arrays = {key: content[key] for key in content.files}
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    # A member of the zip that is no .npy comes back as its bytes.
    return {key: value for key, value in arrays.items() if isinstance(value, np.ndarray)}


def take(arrays: dict[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    """The array `key` of an .npz; its absence is a DataError that lists what is there."""
    if key not in arrays:
        raise DataError(f"{path}: no array {key!r}; it holds {one_line(', '.join(sorted(arrays))) or 'nothing'}")
    return arrays[key]


def as_images(array: np.ndarray, where: str) -> np.ndarray:
    """Check that `array` is images, and give grey ones their channel axis.

    Args:
        array: uint8, [n, height, width, channels] or [n, height, width].
        where: what messages call it.
    """
    if array.dtype != np.uint8:
        raise DataError(f"{where}: images must be uint8 with values 0 to 255, not {array.dtype}")
    if array.ndim not in (3, 4):
        raise DataError(f"{where}: images must be [n, height, width, channels] or [n, height, width], not {_of(array)}")
    images = array if array.ndim == 4 else array[..., None]
    if 0 in images.shape:
        raise DataError(f"{where}: no images in an array of {_of(array)}")
    return images


def as_labels(array: np.ndarray, n: int, where: str, classes: int | None = None) -> np.ndarray:
    """Check that `array` is `n` class indices below `classes`, and make them int64."""
    if array.dtype.kind not in "iu" or array.shape != (n,):
        raise DataError(f"{where}: labels must be {n} whole numbers, one per image, not {array.dtype} {_of(array)}")
    wrong = array < 0 if classes is None else (array < 0) | (array >= classes)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        allowed = "below 0" if classes is None else f"outside the classes 0..{classes - 1}"
        raise DataError(f"{where}: label {array[place]} of image {place} is {allowed}")
    return array.astype(np.int64)


def as_values(array: np.ndarray, n: int, where: str) -> np.ndarray:
    """Check that `array` is `n` rows of finite numbers, and make them float32 [n, outputs]."""
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2) or len(array) != n or 0 in array.shape:
        raise DataError(f"{where}: targets must be {n} rows of numbers, one per image, not {array.dtype} {_of(array)}")
    rows = array.reshape(n, -1)
    # A number beyond float32 would become infinite below.
    if not (np.abs(rows.astype(np.float64)) <= np.finfo(np.float32).max).all():
        raise DataError(f"{where}: a target is not a finite number")
    return rows.astype(np.float32)


def _load(path: Path) -> Any:
    try:
        with storage(path, "read"):
            return np.load(path, allow_pickle=False)
    except _DAMAGED as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path}: damaged, incomplete or not an array file ({one_line(error)}); make or copy it again")


def _of(array: np.ndarray) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"
