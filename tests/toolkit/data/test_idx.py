import gzip

import numpy as np
import pytest

from jetson.errors import DataError, StorageError
from toolkit.data import load
from toolkit.data.fashion import DEBIAN
from toolkit.data.idx import read_idx


@pytest.mark.parametrize("zipped", [True, False])
def test_an_idx_file_comes_back_as_it_was(tmp_path, make, zipped):
    array = make.pixels(3, shape=(5, 4))
    content = make.idx_bytes(array)
    (tmp_path / "f").write_bytes(gzip.compress(content) if zipped else content)
    assert (read_idx(tmp_path / "f", axes=3) == array).all()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c: c[:-1], "59 values where its header announces 60"),
        (lambda c: c + b"x", "61 values where its header announces 60"),
        (lambda c: c[:9], "9 bytes are too few"),
        (lambda c: b"", "0 bytes are too few"),
        (lambda c: b"\0\0\x0d\x03" + c[4:], "not an IDX file of bytes with 3 axes"),
        (lambda c: b"\0\0\x08\x01" + c[4:], "not an IDX file of bytes with 3 axes"),
        (lambda c: c[:4] + b"\xff" * 12 + c[16:], "60 values where its header announces 79228162"),
        (lambda c: gzip.compress(c)[:-9], "damaged or incomplete gzip"),
        (lambda c: gzip.compress(c)[:15], "damaged or incomplete gzip"),
        (lambda c: gzip.compress(c)[:5], "damaged or incomplete gzip"),
    ],
)
def test_a_spoilt_idx_file_is_one_line(tmp_path, make, spoil, says):
    path = tmp_path / "f"
    path.write_bytes(spoil(make.idx_bytes(make.pixels(3, shape=(5, 4)))))
    with pytest.raises(DataError, match=says) as caught:
        read_idx(path, axes=3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_idx_file_is_one_line(tmp_path):
    with pytest.raises(StorageError, match="cannot read"):
        read_idx(tmp_path / "none", axes=3)


@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_from_a_folder(tmp_path, make, zipped):
    folder = make.write_fashion(tmp_path / "f", zipped=zipped)
    data = load(f"fashion-mnist:{folder}")
    assert [len(data.train), len(data.calibration), len(data.test)] == [44, 4, 10]
    assert (data.name, data.outputs, data.channels, data.size) == ("fashion-mnist", 10, 1, (28, 28))
    assert data.classes[9] == "ankle boot"
    # The test part is the official one, in its order.
    assert (data.test.images[..., 0] == make.pixels(58, shape=(28, 28))[48:]).all()
    assert data.test.targets.tolist() == [i % 10 for i in range(48, 58)]
    assert data.record() == load(f"fashion-mnist:{folder}").record()
    other = load(f"fashion-mnist:{folder}", seed=1).record().splits
    assert other["test"] == data.record().splits["test"] and other["train"] != data.record().splits["train"]


def test_a_missing_fashion_mnist_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.data.fashion.DEBIAN", tmp_path)
    for spec in ("fashion-mnist", f"fashion-mnist:{tmp_path}"):
        with pytest.raises(DataError, match=r"apt-get install dataset-fashion-mnist.*fashion-mnist:FOLDER"):
            load(spec)


def test_labels_and_images_must_agree(tmp_path, make):
    folder = make.write_fashion(tmp_path)
    label_file = folder / "train-labels-idx1-ubyte.gz"
    label_file.write_bytes(make.idx_bytes(np.zeros(47, np.uint8)))
    with pytest.raises(DataError, match="labels must be 48 whole numbers"):
        load(f"fashion-mnist:{folder}")
    label_file.write_bytes(make.idx_bytes(np.full(48, 10, np.uint8)))
    with pytest.raises(DataError, match=r"label 10 of image 0 is outside the classes 0\.\.9"):
        load(f"fashion-mnist:{folder}")
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(make.idx_bytes(np.zeros((0, 28, 28), np.uint8)))
    label_file.write_bytes(make.idx_bytes(np.zeros(48, np.uint8)))
    with pytest.raises(DataError, match="no images in an array"):
        load(f"fashion-mnist:{folder}")


@pytest.mark.slow
def test_debians_fashion_mnist():
    if not DEBIAN.is_dir():
        pytest.skip(f"{DEBIAN} is not there (apt-get install dataset-fashion-mnist)")
    data = load("fashion-mnist")
    assert len(data.test) == 10_000 and len(data.train) + len(data.calibration) + data.dropped == 60_000
    assert np.bincount(data.calibration.targets).tolist() == [500] * 10
