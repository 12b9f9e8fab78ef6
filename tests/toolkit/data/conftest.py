"""Small data sets, written where a test asks for them."""

import gzip
import io
import pickle
import struct
import tarfile
from typing import ClassVar

import numpy as np
import pytest


def pixels(n, seed=0, shape=(32, 32, 3)):
    return np.random.default_rng(seed).integers(0, 256, size=(n, *shape), dtype=np.uint8)


def write_image(path, seed=0, size=(6, 5), mode="RGB"):
    """A random picture, width x height, in the format its name says."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(1, seed, (size[1], size[0], 3))[0]).convert(mode).save(path)
    return path


def write_classes(folder, counts, seed=0):
    """A folder per class with so many different images each."""
    for name, count in counts.items():
        for i in range(count):
            seed += 1
            write_image(folder / name / f"{i:03}.png", seed)
    return folder, seed


def idx_bytes(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_fashion(folder, train=48, test=10, zipped=True, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    images = pixels(train + test, seed, (28, 28))
    labels = (np.arange(train + test) % 10).astype(np.uint8)
    for prefix, part in (("train", slice(0, train)), ("t10k", slice(train, None))):
        for kind, array in (("images-idx3", images[part]), ("labels-idx1", labels[part])):
            content = idx_bytes(array)
            name = folder / f"{prefix}-{kind}-ubyte"
            if zipped:
                name.with_name(name.name + ".gz").write_bytes(gzip.compress(content, 1))
            else:
                name.write_bytes(content)
    return folder


class Python2Pickler(pickle._Pickler):
    """Writes bytes and text as Python 2 did, which is how CIFAR-10 was published."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _string(self, value):
        data = value if isinstance(value, bytes) else value.encode("latin-1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = _string


def python2_pickle(value):
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_batches(per_batch=20, dump=python2_pickle):
    """The six batches of the Python archive by name, and their images and labels in file order."""
    images = pixels(6 * per_batch)
    labels = np.tile(np.arange(10), 6 * per_batch // 10 + 1)[: 6 * per_batch]
    batches = {}
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        part = slice(i * per_batch, (i + 1) * per_batch)
        rows = np.ascontiguousarray(images[part].transpose(0, 3, 1, 2)).reshape(per_batch, -1)
        batches[name] = dump({"batch_label": name, "data": rows, "labels": labels[part].tolist()})
    return batches, images, labels


def write_tar(path, files, folder="cifar-10-batches-py"):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def make():
    """The writers above, for tests to use without importing this file."""

    class Make:
        pass

    for function in (
        pixels,
        write_image,
        write_classes,
        idx_bytes,
        write_fashion,
        python2_pickle,
        cifar_batches,
        write_tar,
    ):
        setattr(Make, function.__name__, staticmethod(function))
    return Make
