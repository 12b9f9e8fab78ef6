import io
import os
import pickle

import numpy as np
import pytest

from jetson.errors import DataError
from toolkit.data import load
from toolkit.data.unpickle import unpickle


def protocol(number):
    """As Python 3 would pickle the same batch, with text or bytes as keys."""
    return lambda value: pickle.dumps({k.encode(): v for k, v in value.items()}, protocol=number)


def binary(make, images, labels, per_batch=20):
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    records = np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1)
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    return {name: records[i * per_batch : (i + 1) * per_batch].tobytes() for i, name in enumerate(names)}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def check(data, images, labels):
    assert [len(data.train), len(data.calibration), len(data.test)] == [90, 10, 20]
    assert (data.name, data.outputs, data.channels, data.size) == ("cifar10", 10, 3, (32, 32))
    assert (np.asarray(data.test.images) == images[100:]).all()
    assert data.test.targets.tolist() == labels[100:].tolist()
    assert np.bincount(data.calibration.targets).tolist() == [1] * 10
    by_content = {i.tobytes(): label for i, label in zip(images, labels, strict=True)}
    for part in (data.train, data.calibration):
        assert [by_content[i.tobytes()] for i in part.images] == part.targets.tolist()


def test_the_python_archive_in_every_dress(tmp_path, make):
    batches, images, labels = make.cifar_batches()
    tar = make.write_tar(tmp_path / "cifar-10-python.tar.gz", batches)
    folder = write(tmp_path / "out" / "cifar-10-batches-py", batches)
    records = []
    for path in (tar, folder, folder.parent):
        data = load(f"cifar10:{path}")
        check(data, images, labels)
        records.append(data.record())
    assert records[0] == records[1] == records[2]


def test_a_batch_that_python_3_pickled_again(tmp_path, make):
    batches, images, labels = make.cifar_batches(dump=protocol(2))
    check(load(f"cifar10:{write(tmp_path, batches)}"), images, labels)


def test_the_binary_archive(tmp_path, make):
    _, images, labels = make.cifar_batches()
    files = binary(make, images, labels)
    check(load(f"cifar10:{make.write_tar(tmp_path / 'b.tar.gz', files, 'cifar-10-batches-bin')}"), images, labels)
    check(load(f"cifar10:{write(tmp_path / 'b', files)}"), images, labels)


def test_an_npz(tmp_path, make):
    _, images, labels = make.cifar_batches()
    names = np.array([f"c{i}" for i in range(10)])
    arrays = {"train_images": images[:100], "train_labels": labels[:100].astype(np.uint8), "classes": names}
    arrays |= {"test_images": images[100:], "test_labels": labels[100:]}
    path = tmp_path / "c.npz"
    np.savez(path, **arrays)
    data = load(f"cifar10:{path}")
    check(data, images, labels)
    assert data.classes == tuple(names.tolist())
    for change, says in (
        ({"train_images": None}, "no array 'train_images'; it holds classes, test_images"),
        ({"classes": names[:9]}, r"train_labels: label 9 of image 9 is outside the classes 0\.\.8"),
        ({"classes": names[:1]}, "classes must be two or more different names"),
        ({"classes": np.array(["a"] * 10)}, "classes must be two or more different names"),
        ({"classes": np.arange(10)}, "classes must be two or more different names"),
        ({"train_images": images[:100].astype(np.float32)}, "must be uint8 .* not float32"),
        ({"train_images": images[:100, 0, 0]}, r"not \[100, 3\]"),
        ({"test_images": images[:0]}, "test_images: no images"),
        ({"test_images": images[100:, :, :, :1]}, "differ in their number of channels"),
        ({"test_labels": labels[99:]}, "labels must be 20 whole numbers"),
        ({"test_labels": labels[100:].astype(float)}, "labels must be 20 whole numbers"),
        ({"classes": np.array([{}], dtype=object)}, "damaged, incomplete or not an array file"),
    ):
        np.savez(path, **{k: v for k, v in (arrays | change).items() if v is not None})
        with pytest.raises(DataError, match=says):
            load(f"cifar10:{path}")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-here",)


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_pickle_that_asks_for_more_is_refused_before_it_acts(tmp_path, make, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    batches, *_ = make.cifar_batches()
    batches["data_batch_3"] = pickle.dumps({b"data": Evil()}, protocol=number)
    tar = make.write_tar(tmp_path / "c.tar.gz", batches)
    with pytest.raises(DataError, match=r"data_batch_3: refused, its pickle asks for (posix|nt)\.mkdir"):
        load(f"cifar10:{tar}")
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(
    "names", [b"cbuiltins\neval\n.", b"cnumpy\nload\n.", b"cnumpy.core.multiarray\nscalar\n.", b"c__builtin__\nexec\n."]
)
def test_only_the_names_of_an_array_are_known(names):
    with pytest.raises(DataError, match="refused"):
        unpickle(names, "x")


def test_an_array_of_objects_is_not_read():
    content = pickle.dumps(np.array([Evil], dtype=object)[:0], protocol=2)
    with pytest.raises(DataError, match="an array of"):
        unpickle(content, "x")


@pytest.mark.parametrize("array", [np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(4, dtype=np.uint8)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_bytes_come_back(array, order):
    read = unpickle(pickle.dumps(np.array(array, order=order), protocol=2), "x").array
    assert read.dtype == np.uint8 and (read == array).all()


def test_a_pickle_cannot_tell_numpy_that_bytes_are_pointers():
    # The last number of a dtype's state are its flags; 63 says that the items are Python objects.
    stand = pickle.dumps(np.zeros(8, np.uint8), protocol=2)
    flags = stand.replace(b"K\x00t", b"K\x3ft", 1)
    assert flags != stand
    read = unpickle(flags, "x").array
    assert read.dtype == np.uint8 and not read.dtype.hasobject


def test_a_memo_of_gigabytes_is_not_made():
    with pytest.raises(DataError, match="memo place 2147483647"):
        unpickle(b"\x80\x02]r\xff\xff\xff\x7f.", "x")


def test_text_is_only_ever_decoded_as_latin_1():
    stream = io.BytesIO()
    stream.write(b"c_codecs\nencode\nX\x02\0\0\0\xc3\xa9X\x06\0\0\0rot_13\x86R.")
    assert unpickle(stream.getvalue(), "x") == b"\xe9"


def replace(name, content):
    return lambda b: b | {name: content}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda b: {k: v for k, v in b.items() if k != "data_batch_4"}, "data_batch_4 missing"),
        (lambda b: {}, "no CIFAR-10 batches in it"),
        (replace("test_batch", b""), "test_batch: damaged or incomplete pickle"),
        (lambda b: b | {"test_batch": b["test_batch"][:5000]}, "test_batch: damaged or incomplete pickle"),
        (replace("test_batch", pickle.dumps([1, 2])), "not a CIFAR-10 batch"),
        (replace("test_batch", pickle.dumps({"data": 3, "labels": []})), "its data is not rows of 3072 bytes"),
        (replace("test_batch", pickle.dumps({})), "its data is not rows of 3072 bytes"),
    ],
)
def test_spoilt_batches_are_one_line(tmp_path, make, spoil, says):
    batches, *_ = make.cifar_batches()
    with pytest.raises(DataError, match=says):
        load(f"cifar10:{write(tmp_path, spoil(batches))}")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0] * 19 + [10], r"label 10 of image 19 is outside the classes 0\.\.9"),
        ([-1] + [0] * 19, "label -1 of image 0"),
        ([2**70] + [0] * 19, "is outside the classes"),
        ([0] * 19, "not a list of 20 whole numbers"),
        ([0.5] * 20, "not a list of 20 whole numbers"),
        (["cat"] * 20, "not a list of 20 whole numbers"),
    ],
)
def test_labels_must_fit(tmp_path, make, labels, says):
    batches, *_ = make.cifar_batches()
    batches["data_batch_1"] = pickle.dumps({"data": np.zeros((20, 3072), np.uint8), "labels": labels}, protocol=2)
    with pytest.raises(DataError, match=says):
        load(f"cifar10:{write(tmp_path, batches)}")


def test_spoilt_binaries_and_archives_are_one_line(tmp_path, make):
    batches, images, labels = make.cifar_batches()
    files = binary(make, images, labels)
    cut_short = files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]}
    with pytest.raises(DataError, match="no whole number of records"):
        load(f"cifar10:{write(tmp_path / 'b', cut_short)}")
    with pytest.raises(DataError, match="no images"):
        load(f"cifar10:{write(tmp_path / 'b', files | {'test_batch.bin': b''})}")
    tar = make.write_tar(tmp_path / "c.tar.gz", batches)
    content = tar.read_bytes()
    for keep in (len(content) * 2 // 3, 100, 5, 0):
        tar.write_bytes(content[:keep])
        with pytest.raises(DataError, match="not a complete tar archive") as caught:
            load(f"cifar10:{tar}")
        assert "\n" not in str(caught.value)
