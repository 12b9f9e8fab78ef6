"""Four roles, and no image in two of them."""

import numpy as np
import pytest

from jetson.errors import DataError
from jetson.manifest import DataRecord, Split
from toolkit.data import load
from toolkit.data.dataset import Part
from toolkit.data.roles import ROLES, halve, record, refuse_other_roles, refuse_shared, roles


def part(n, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 4, 4, 1), dtype=np.uint8)
    return Part(images, rng.integers(0, classes, n))


def test_roles_share_no_image_and_lose_none():
    data = load("digits")
    found = roles(data)
    assert tuple(found) == ROLES
    for name in ROLES:
        others = {d for n in ROLES if n != name for d in found[n].digests}
        assert not others.intersection(found[name].digests)
    assert len(found["fit"]) + len(found["select"]) == len(data.calibration)
    assert abs(len(found["fit"]) - len(found["select"])) <= 10
    for half in ("fit", "select"):
        counts = np.bincount(found[half].targets, minlength=10)
        whole = np.bincount(data.calibration.targets, minlength=10)
        assert np.abs(counts - whole / 2).max() <= 1, "classes in proportion"
    assert roles(load("digits"))["fit"].sha256 == found["fit"].sha256, "the same every time"


def test_copies_of_an_image_stay_together():
    images = np.repeat(part(10).images, 3, axis=0)
    fit, select = halve(Part(images, np.zeros(30, np.int64)), "here")
    assert len(fit) == len(select) == 15 and not set(fit.digests) & set(select.digests)


@pytest.mark.parametrize("images", [np.zeros((1, 4, 4, 1), np.uint8), np.zeros((9, 4, 4, 1), np.uint8)])
def test_what_cannot_be_halved_is_one_line(images):
    with pytest.raises(DataError, match=r"here: the calibration part has \d images and 1 different"):
        halve(Part(images, np.zeros(len(images), np.int64)), "here")


def test_images_keep_their_role():
    data = load("digits")
    found = roles(data)
    now = record(data, found)
    refuse_other_roles(now, now, "digits")
    refuse_other_roles(now, None, "digits")
    refuse_other_roles(now, data.record(), "digits")
    swapped = DataRecord(name="x", splits={"test": now.splits["fit"], "fit": Split(n=1, sha256="0" * 64)})
    with pytest.raises(DataError, match="mine: its test images are the fit images of this bundle"):
        refuse_other_roles(swapped, now, "mine")
    with pytest.raises(DataError, match="its fit images are the test images"):
        refuse_other_roles(DataRecord(name="x", splits={"fit": now.splits["test"]}), data.record(), "mine")


def test_shared_images_are_counted_and_named():
    ours, theirs = part(20, 1), part(20, 2)
    refuse_shared(ours, {"train": theirs}, "here")
    mixed = Part(np.concatenate([theirs.images, ours.images[:3]]), None)
    with pytest.raises(DataError, match="here: 3 of its 20 images are test images"):
        refuse_shared(ours, {"train": theirs, "test": mixed}, "here")
