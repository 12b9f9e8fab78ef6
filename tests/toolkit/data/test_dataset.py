import hashlib

import numpy as np
import pytest

from jetson.errors import DataError
from jetson.manifest import DataRecord
from toolkit.data.dataset import Part, assemble
from toolkit.data.images import FileImages


def part(make, n, seed=0, classes=2):
    return Part(make.pixels(n, seed, (4, 3, 1)), np.arange(n, dtype=np.int64) % classes)


def test_the_hash_is_over_content_and_order_not_over_the_container(make):
    p = part(make, 5)
    assert p.sha256 == Part(list(p.images), p.targets).sha256
    assert p.sha256 == Part(p.images.copy(), p.targets.copy()).sha256
    assert len(p.sha256) == 64
    other_pixel = p.images.copy()
    other_pixel[4, 0, 0, 0] ^= 1
    other_label = p.targets.copy()
    other_label[0] = 1
    different = [
        Part(other_pixel, p.targets),
        Part(p.images, other_label),
        Part(p.images, None),
        Part(p.images, p.targets[:, None].astype(np.float32)),
        p.pick([1, 0, 2, 3, 4]),
        p.head(4),
        Part(p.images.reshape(5, 3, 4, 1), p.targets),
    ]
    assert len({p.sha256, *(d.sha256 for d in different)}) == len(different) + 1


def test_the_hash_of_targets_does_not_depend_on_byte_order(make):
    p = part(make, 4)
    assert p.sha256 == Part(p.images, p.targets.astype(">i8")).sha256


def test_files_are_hashed_without_decoding_them(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, content in zip(paths, (b"not a picture", b"nor this"), strict=True):
        path.write_bytes(content)
    p = Part(FileImages(paths), None)
    inner = hashlib.sha256(b"not a picture").hexdigest()
    assert p.digests[0] == hashlib.sha256(f"file {inner}".encode()).digest()
    assert p.digests[0] != p.digests[1]


@pytest.mark.parametrize("kind", ["array", "list"])
def test_head_and_pick_keep_images_and_targets_together(make, kind):
    p = part(make, 6)
    p = Part(p.images if kind == "array" else list(p.images), p.targets)
    assert len(p.head(2)) == 2 and len(p.head(99)) == 6
    picked = p.pick([5, 0])
    assert (picked.images[0] == p.images[5]).all() and picked.targets.tolist() == [1, 0]


def test_targets_must_be_as_many_as_images(make):
    with pytest.raises(DataError, match="3 images but 2 targets"):
        Part(make.pixels(3), np.zeros(2, np.int64))


def test_images_of_a_later_part_are_dropped_from_the_earlier_ones(make):
    pool = make.pixels(12, shape=(4, 4, 1))
    train, calibration, test = pool[[0, 1, 2, 2, 6, 9]], pool[[4, 5, 6, 10]], pool[[8, 9, 10, 10]]
    parts = [Part(p, np.arange(len(p)) % 2) for p in (train, calibration, test)]
    data = assemble("s", "s", train=parts[0], calibration=parts[1], test=parts[2], classes="ab")
    assert [len(data.train), len(data.calibration), len(data.test)] == [4, 3, 4]
    assert data.dropped == 3
    assert (data.train.images == pool[[0, 1, 2, 2]]).all() and data.train.targets.tolist() == [0, 1, 0, 1]
    assert (data.calibration.images == pool[[4, 5, 6]]).all()
    sets = [set(data.part(s).digests) for s in ("train", "calibration", "test")]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])


def test_the_record_is_what_the_manifest_keeps(make):
    data = assemble(
        "s", "s", train=part(make, 4), calibration=part(make, 3, 1), test=part(make, 2, 2), classes=("a", "b")
    )
    record = data.record()
    assert isinstance(record, DataRecord) and record.name == "s"
    assert {k: (v.n, v.sha256) for k, v in record.splits.items()} == {
        "train": (4, data.train.sha256),
        "calibration": (3, data.calibration.sha256),
        "test": (2, data.test.sha256),
    }
    assert (data.task, data.outputs, data.channels, data.size) == ("classification", 2, 1, (4, 3))


def test_a_part_must_not_be_empty(make):
    empty = Part(make.pixels(0), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="here: the calibration part has no images"):
        assemble("s", "here", train=part(make, 4), calibration=empty, test=part(make, 2, 2), classes="ab")


def test_a_part_must_have_images_of_its_own(make):
    with pytest.raises(DataError, match="every train image is also in a later part"):
        assemble("s", "s", train=part(make, 4), calibration=part(make, 3, 1), test=part(make, 4), classes="ab")


@pytest.mark.parametrize("wrong", [2, -1])
def test_labels_must_be_classes(make, wrong):
    bad = Part(make.pixels(3, 5), np.array([0, wrong, 1]))
    with pytest.raises(DataError, match=r"the test part has a label outside 0\.\.1"):
        assemble("s", "s", train=part(make, 4), calibration=part(make, 3, 1), test=bad, classes="ab")
