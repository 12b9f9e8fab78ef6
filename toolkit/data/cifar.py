"""CIFAR-10 (Krizhevsky 2009) from the archive its authors publish, or arrays in that spirit from an .npz.

Read in place, never unpacked: `cifar-10-python.tar.gz`, `cifar-10-binary.tar.gz`, or the folder of either.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np

from jetson.errors import DataError
from jetson.files import storage
from toolkit.data.arrays import as_images, as_labels, read_npz, take
from toolkit.data.dataset import DataSet, Part, assemble
from toolkit.data.split import cut, share
from toolkit.data.unpickle import PickledBytes, unpickle
from toolkit.data.wording import one_line

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_PYTHON = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_BINARY = tuple(f"{name}.bin" for name in _PYTHON)
_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
_CALIBRATION = 0.1


def load_cifar10(path: Path, seed: int) -> DataSet:
    """The official test part as test, a stratified tenth of the training part as calibration.

    Args:
        path: either archive, the folder of either, or an .npz with `train_images`, `train_labels`, `test_images`,
            `test_labels` and `classes`.
        seed: chooses the calibration images.

    Raises:
        DataError: not such a file, incomplete or damaged, or a pickle in it asks for more than arrays.
        StorageError: it cannot be read.
    """
    where = str(path)
    full, test, classes = _from_npz(path) if path.suffix == ".npz" else _from_batches(path)
    calibration, train = cut(full, [share(full, _CALIBRATION)], seed, where)
    return assemble("cifar10", where, train=train, calibration=calibration, test=test, classes=classes)


def _from_npz(path: Path) -> tuple[Part, Part, tuple[str, ...]]:
    arrays = read_npz(path)
    names = take(arrays, "classes", path)
    if names.dtype.kind not in "US" or names.ndim != 1 or len(set(names.tolist())) < max(2, len(names)):
        raise DataError(f"{path}: classes must be two or more different names")
    classes = tuple(names.astype(str).tolist())
    parts = []
    for split in ("train", "test"):
        images = as_images(take(arrays, f"{split}_images", path), f"{path}: {split}_images")
        labels = take(arrays, f"{split}_labels", path)
        parts.append(Part(images, as_labels(labels, len(images), f"{path}: {split}_labels", len(classes))))
    if parts[0].images[0].shape[2] != parts[1].images[0].shape[2]:
        raise DataError(f"{path}: train_images and test_images differ in their number of channels")
    return parts[0], parts[1], classes


def _from_batches(path: Path) -> tuple[Part, Part, tuple[str, ...]]:
    files = _folder(path) if path.is_dir() else _archive(path)
    for names, read in ((_PYTHON, _python_batch), (_BINARY, _binary_batch)):
        if not files.keys() & set(names):
            continue
        if missing := [name for name in names if name not in files]:
            raise DataError(f"{path}: {', '.join(missing)} missing; download CIFAR-10 again")
        batches = [read(files[name], f"{path}: {name}") for name in names]
        full = Part(np.concatenate([b[0] for b in batches[:-1]]), np.concatenate([b[1] for b in batches[:-1]]))
        return full, Part(*batches[-1]), CLASSES
    raise DataError(f"{path}: no CIFAR-10 batches in it; cifar10:PATH takes the archive, its folder, or an .npz")


def _folder(path: Path) -> dict[str, bytes]:
    for folder in (path, *(path / name for name in _FOLDERS)):
        found = [folder / name for name in (*_PYTHON, *_BINARY) if (folder / name).is_file()]
        if found:
            with storage(folder, "read"):
                return {file.name: file.read_bytes() for file in found}
    return {}


def _archive(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with storage(path, "read"), path.open("rb") as stream:
        # From here on an OSError is a decompressor's complaint; storage() lets DataError through.
        try:
            with tarfile.open(fileobj=stream, mode="r:*") as archive:
                for member in archive:
                    name = member.name.rpartition("/")[2]
                    content = archive.extractfile(member) if name in (*_PYTHON, *_BINARY) and member.isfile() else None
                    if content is not None:
                        found[name] = content.read()
        except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
            raise DataError(f"{path}: not a complete tar archive ({one_line(error)}); download it again") from None
    return found


def _python_batch(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    batch = unpickle(content, where)
    if not isinstance(batch, dict):
        raise DataError(f"{where}: not a CIFAR-10 batch")
    named = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    pickled, labels = named.get("data"), named.get("labels")
    data: np.ndarray = pickled.array if isinstance(pickled, PickledBytes) else np.empty(0)
    if data.ndim != 2 or data.shape[1] != _PIXELS:
        raise DataError(f"{where}: its data is not rows of {_PIXELS} bytes")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(label) is int for label in labels):
        raise DataError(f"{where}: its labels are not a list of {len(data)} whole numbers, one per image")
    return _images(data, where), _labels(labels, where)


def _binary_batch(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if len(content) % (_PIXELS + 1):
        raise DataError(f"{where}: {len(content)} bytes are no whole number of records; download it again")
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, _PIXELS + 1)
    return _images(rows[:, 1:], where), _labels(rows[:, 0].tolist(), where)


def _images(rows: np.ndarray, where: str) -> np.ndarray:
    planes = rows.reshape(-1, 3, _SIDE, _SIDE)
    return as_images(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), where)


def _labels(labels: list[int], where: str) -> np.ndarray:
    for place, label in enumerate(labels):
        if not 0 <= label < len(CLASSES):
            raise DataError(f"{where}: label {label} of image {place} is outside the classes 0..{len(CLASSES) - 1}")
    return np.array(labels, dtype=np.int64)
