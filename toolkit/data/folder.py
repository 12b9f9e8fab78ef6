"""A folder of image files as a data set.

Four layouts are understood; hidden files and files that are no images are passed over in all of them.

    PATH/CLASS/...                          cut into 70 % train, 15 % calibration, 15 % test
    PATH/{train,calibration,test}/CLASS/... calibration may be absent: then 15 % of train
    PATH/targets.csv                        regression, cut in the same way
    PATH/{train,calibration,test}/targets.csv
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jetson.errors import DataError
from jetson.files import storage
from toolkit.data.dataset import SPLITS, DataSet, Part, assemble
from toolkit.data.images import SUFFIXES, FileImages, is_image_file
from toolkit.data.split import balanced_order, cut, share
from toolkit.data.table import TABLE, read_table

_SHARE = 0.15
Names = tuple[str, ...]


def load_folder(path: Path, seed: int) -> DataSet:
    """Read the data set in a folder, for learning from it: classification needs two classes.

    Raises:
        DataError: no layout above fits, a part or class is empty, or the parts contradict each other.
        StorageError: a folder cannot be read.
    """
    data = read_folder(path, seed)
    if data.classes is not None and len(data.classes) < 2:
        raise DataError(
            f"{path}: only one class, {data.classes[0]}; put the images of each class in a folder of its own"
        )
    return data


def read_folder(path: Path, seed: int) -> DataSet:
    """As `load_folder`, and one class is enough."""
    where = str(path)
    folders = _folders(path)
    splits = [f for f in folders if f.name in SPLITS]
    whole = (path / TABLE).is_file()
    # A class may be called `train` (beside `bus`): it is a part only if it looks like one, or its twin is there.
    if not ({"train", "test"} <= {f.name for f in splits} or any((f / TABLE).is_file() or _folders(f) for f in splits)):
        test, calibration, train, names = _cut_whole(path, seed, whole)
    elif whole:
        raise DataError(f"{path}: {TABLE} beside {splits[0].name}/; put a {TABLE} into each of the parts instead")
    elif len(splits) < len(folders):
        strange = next(f.name for f in folders if f not in splits)
        raise DataError(f"{path}: {strange}/ beside {splits[0].name}/; the parts are called {', '.join(SPLITS)}")
    else:
        test, calibration, train, names = _read_parts(path, seed, [f.name for f in splits])
    return assemble(
        path.resolve().name,
        where,
        train=train,
        calibration=calibration,
        test=test,
        classes=names if train.targets is not None and train.targets.ndim == 1 else None,
    )


def flat_images(path: Path) -> list[Path]:
    """The image files directly in a folder, by name."""
    with storage(path, "read"):
        return sorted(f for f in path.iterdir() if is_image_file(f))


def has_structure(path: Path) -> bool:
    """Whether a folder says something about its images: subfolders or a targets.csv."""
    return (path / TABLE).is_file() or bool(_folders(path))


def _cut_whole(path: Path, seed: int, regression: bool) -> tuple[Part, Part, Part, Names]:
    if regression:
        full, names = read_table(path)
    else:
        names = _class_names(path)
        full = _labelled(path, names)
    test, calibration, train = cut(full, (share(full, _SHARE), share(full, _SHARE)), seed, str(path))
    return test, calibration, train, names


def _read_parts(path: Path, seed: int, splits: list[str]) -> tuple[Part, Part, Part, Names]:
    for split in ("train", "test"):
        if split not in splits:
            raise DataError(f"{path}: has {splits[0]}/ but no {split}/; the parts are called {', '.join(SPLITS)}")
    tables = [split for split in splits if (path / split / TABLE).is_file()]
    if tables and tables != splits:
        raise DataError(f"{path}: {tables[0]}/ has a {TABLE}, another part has none; each of them needs one")
    parts: dict[str, Part] = {}
    if tables:
        read = {split: read_table(path / split) for split in splits}
        names = read["train"][1]
        for split, (part, outputs) in read.items():
            if outputs != names:
                raise DataError(f"{path}: the columns of {split}/{TABLE} are not those of train/{TABLE}")
            parts[split] = part
    else:
        names = _class_names(path / "train")
        for split in splits:
            part = _labelled(path / split, names)
            # The head of a part is then a fair sample of its classes, not its first class.
            parts[split] = part if part.targets is None else part.pick(balanced_order(part.targets))
    if "calibration" not in parts:
        full = parts["train"]
        parts["calibration"], parts["train"] = cut(full, [share(full, _SHARE)], seed, f"{path}/train")
    return parts["test"], parts["calibration"], parts["train"], names


def _class_names(path: Path) -> Names:
    names = tuple(folder.name for folder in _folders(path))
    if not names:
        if flat_images(path):
            raise DataError(f"{path}: images without classes; put each class in a folder of its own, or add {TABLE}")
        raise DataError(f"{path}: no images in it (of {' '.join(SUFFIXES)})")
    if flat_images(path):
        raise DataError(f"{path}: images beside the folders {names[0]}/ ...; move each into the folder of its class")
    for name in names:
        if not _images_below(path / name):
            raise DataError(f"{path / name}: no images in this class (of {' '.join(SUFFIXES)}); add some or remove it")
    return names


def _labelled(path: Path, names: Names) -> Part:
    files: list[Path] = []
    labels: list[int] = []
    for folder in _folders(path):
        if folder.name not in names:
            raise DataError(f"{folder}: a class that the training images do not have; they have {', '.join(names)}")
        found = _images_below(folder)
        files += found
        labels += [names.index(folder.name)] * len(found)
    return Part(FileImages(files), np.array(labels, dtype=np.int64))


def _folders(path: Path) -> list[Path]:
    with storage(path, "read"):
        return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))


def _images_below(path: Path) -> list[Path]:
    with storage(path, "read"):
        return sorted(f for f in path.rglob("*") if is_image_file(f))
