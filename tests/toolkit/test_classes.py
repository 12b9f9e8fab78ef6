"""Classes of data and model are brought together by their names, and by nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest

from jetson.errors import DataError
from tests.toolkit.models.small import small_config
from toolkit.classes import in_classes_of, named_by
from toolkit.data.dataset import Part, assemble
from toolkit.data.names import renumbered


def data(*classes):
    """Four images of each class in each part."""
    rng = np.random.default_rng(0)
    labels = np.arange(4 * len(classes)) % len(classes)
    parts = {
        split: Part(rng.integers(0, 256, (len(labels), 8, 8, 1), dtype=np.uint8), labels)
        for split in ("train", "calibration", "test")
    }
    return assemble("d", "d", **parts, classes=classes)


def model(*classes, task="classification"):
    return SimpleNamespace(task=task, outputs=len(classes), classes=classes)


def test_the_same_classes_stay():
    found = data("a", "b")
    assert in_classes_of(found, "d", model("a", "b"), "bundle") == (found, ())


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("b", "a"), "the classes of d are put in the order of the bundle's"),
        (("b", "c", "a"), "d has 2 of the bundle's 3 classes: every exit is judged on these alone"),
    ],
)
def test_targets_are_numbered_as_the_model_numbers(classes, said):
    before = data("a", "b")
    found, remarks = in_classes_of(before, "d", model(*classes), "bundle")
    assert remarks == (said,) and found.classes == classes and found.outputs == len(classes)
    for split in ("train", "calibration", "test"):
        ours, theirs = before.part(split), found.part(split)
        assert [classes[t] for t in theirs.targets] == [before.classes[t] for t in ours.targets]
        assert theirs.images is ours.images


def test_a_class_that_the_model_lacks_is_refused():
    with pytest.raises(DataError, match="the classes of d are not the bundle's: b is in one of them only"):
        in_classes_of(data("a", "c"), "d", model("a", "b"), "bundle")
    with pytest.raises(DataError, match="does not fit"):
        in_classes_of(data("a", "c"), "d", model("a", "b", "x"), "bundle")


@pytest.mark.parametrize("pattern", ["{}", "LABEL_{}", "class {}"])
def test_numbers_give_way_to_names(pattern):
    config = small_config("1:mlp", classes=tuple(pattern.format(i) for i in range(5)))
    found, said = named_by(config, data("ape", "bee", "cat", "dog", "eel"), "d")
    assert found.classes == ("ape", "bee", "cat", "dog", "eel") and "in order (ape, bee, cat, ...)" in said[0]
    assert named_by(config, data("ape", "bee"), "d") == (config, ())


def test_names_do_not_give_way():
    config = small_config("1:mlp")
    assert named_by(config, data("ape", "bee", "cat", "dog", "eel"), "d") == (config, ())
    numbers = small_config("1:mlp", classes=("1", "0", "2", "3", "4"))
    assert named_by(numbers, data("ape", "bee", "cat", "dog", "eel"), "d") == (numbers, ())


def test_frames_that_are_run_on_are_judged_by_name():
    targets = np.array([0, 1, 1])
    assert renumbered(targets, ("cat", "dog"), ("cow", "dog", "cat")).tolist() == [2, 1, 1]
    assert renumbered(targets, ("cat", "dog"), ("0", "1")) is targets
    assert renumbered(targets, ("cat", "dog"), ("cow", "dog")) is None
    assert renumbered(targets, ("cat", "dog"), ("0", "1", "2")) is None
