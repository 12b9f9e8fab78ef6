"""What can be run on: whatever `load` knows, and frames that nothing is known about."""

from __future__ import annotations

from pathlib import Path

from jetson.errors import DataError
from toolkit.data.arrays import as_images, as_labels, as_values, read_npy, read_npz, take
from toolkit.data.catalog import load, parse
from toolkit.data.dataset import SPLITS, Part
from toolkit.data.folder import flat_images, has_structure, read_folder
from toolkit.data.images import SUFFIXES, FileImages


def frames(spec: str, split: str = "test", seed: int = 0) -> Part:
    """The images of a specification in one stretch, with their targets where they have some.

    Args:
        spec: what `load` takes, and then that part of it; or, whole, an image file, a folder of image files (sorted by
            name), an .npy of uint8 [n, h, w, c] or [n, h, w], an .npz with `images` and either `labels`
            (class indices) or `targets` (values) or neither.
        split: `train`, `calibration` or `test`; of use only where there are parts.
        seed: as for `load`.

    Raises:
        DataError: an unknown name or split, or data that is missing, empty, damaged or no images.
        MissingExtra: the package that carries or decodes the data is not installed.
        StorageError: a file cannot be read.
    """
    return named_frames(spec, split, seed)[0]


def named_frames(spec: str, split: str = "test", seed: int = 0) -> tuple[Part, tuple[str, ...] | None]:
    """As `frames`, and the names of the classes that the targets count; None where nothing names them."""
    if split not in SPLITS:
        raise DataError(f"{split!r} is not a part of a data set; the parts are {', '.join(SPLITS)}")
    name, path = parse(spec)
    if path is None or name not in (None, "image-folder"):
        data = load(spec, seed)
        return data.part(split), data.classes
    if path.is_dir():
        return _folder(path, split, seed)
    if path.suffix == ".npy":
        return Part(as_images(read_npy(path), str(path)), None), None
    if path.suffix == ".npz":
        return _npz(path), None
    if path.suffix.lower() in SUFFIXES:
        return Part(FileImages([path]), None), None
    raise DataError(f"{path}: neither a folder nor an image ({' '.join(SUFFIXES)}), .npy or .npz")


def _folder(path: Path, split: str, seed: int) -> tuple[Part, tuple[str, ...] | None]:
    if has_structure(path):
        data = read_folder(path, seed)
        return data.part(split), data.classes
    files = flat_images(path)
    if not files:
        raise DataError(f"{path}: no images in it (of {' '.join(SUFFIXES)})")
    return Part(FileImages(files), None), None


def _npz(path: Path) -> Part:
    arrays = read_npz(path)
    if "images" not in arrays and "test_images" in arrays:
        raise DataError(f"{path}: has a train and a test part; name it with cifar10:{path}")
    images = as_images(take(arrays, "images", path), f"{path}: images")
    if "labels" in arrays and "targets" in arrays:
        raise DataError(f"{path}: has both labels and targets; keep one of them")
    if "labels" in arrays:
        return Part(images, as_labels(arrays["labels"], len(images), f"{path}: labels"))
    if "targets" in arrays:
        return Part(images, as_values(arrays["targets"], len(images), f"{path}: targets"))
    return Part(images, None)
