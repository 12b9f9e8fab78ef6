"""Fashion-MNIST: 60,000 + 10,000 grey 28x28 pictures of clothes (Xiao, Rasul and Vollgraf, arXiv:1708.07747)."""

from __future__ import annotations

from pathlib import Path

from jetson.errors import DataError
from toolkit.data.arrays import as_images, as_labels
from toolkit.data.dataset import DataSet, Part, assemble
from toolkit.data.idx import read_idx
from toolkit.data.split import cut

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
# One twelfth: 5,000 of the 60,000.
_CALIBRATION = 12


def load_fashion_mnist(folder: Path | None, seed: int) -> DataSet:
    """The official test set as test, one twelfth of the training set as calibration, the rest as train.

    Args:
        folder: where the four IDX files are; None is where Debian's package puts them.
        seed: chooses the calibration images, stratified.

    Raises:
        DataError: a file is missing or damaged; the message says where the data comes from.
    """
    where = folder or DEBIAN
    full = _read(where, "train")
    calibration, train = cut(full, [max(1, len(full) // _CALIBRATION)], seed, str(where))
    return assemble(
        "fashion-mnist", str(where), train=train, calibration=calibration, test=_read(where, "t10k"), classes=CLASSES
    )


def _read(folder: Path, prefix: str) -> Part:
    image_file = _find(folder, f"{prefix}-images-idx3-ubyte")
    label_file = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images = as_images(read_idx(image_file, axes=3), str(image_file))
    return Part(images, as_labels(read_idx(label_file, axes=1), len(images), str(label_file), len(CLASSES)))


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(
        f"{folder}: {name}.gz is not there; apt-get install dataset-fashion-mnist, "
        f"or name the folder that has the four IDX files with fashion-mnist:FOLDER"
    )
