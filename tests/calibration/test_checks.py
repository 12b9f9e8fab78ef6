"""Frames that nothing can be learnt from are refused; the ones that are merely lopsided are remarked on."""

import numpy as np
import pytest

from calibration.checks import CONSTANT, CORRELATED, FEWEST, LOOKED_AT, check_calibration, neighbours
from jetson.errors import DataError

RNG = np.random.default_rng(0)
CLASSES = ("cat", "dog", "owl")


def pictures(n=40, size=(12, 16), channels=3, seed=0):
    """Smooth blobs, all different."""
    rng = np.random.default_rng(seed)
    y, x = (np.linspace(0, 1, edge) for edge in size)
    found = []
    for _ in range(n):
        waves = [
            np.sin(rng.uniform(1, 6) * y[:, None] + rng.uniform(1, 6) * x + rng.uniform(0, 6)) for _ in range(channels)
        ]
        found.append((127 + 120 * np.stack(waves, axis=2)).astype(np.uint8))
    return found


def labels(n=40):
    return np.arange(n) % 3


def check(images=None, targets=None, classes=CLASSES):
    images = pictures() if images is None else images
    return check_calibration(images, labels(len(images)) if targets is None else targets, classes, "photos/")


def refused(says, **given):
    with pytest.raises(DataError, match=rf"^photos/: {says}") as error:
        check(**given)
    assert "\n" not in str(error.value)


def test_what_frames_that_will_do_are():
    facts = check()
    assert (facts.n, facts.distinct, facts.per_class, facts.remarks) == (40, 40, (14, 13, 13), ())


def test_one_array_of_all_images_will_do_too():
    assert check(np.stack(pictures())).distinct == 40


def test_sizes_may_differ():
    assert check([*pictures(20), *pictures(20, (30, 9))]).distinct == 40


def test_values_of_a_regression():
    targets = RNG.normal(size=(40, 2)).astype(np.float32)
    assert check(targets=targets, classes=None).per_class is None
    targets[3, 1], targets[7, 0] = np.nan, np.inf
    refused("2 of 40 targets are NaN or infinite; correct or remove them", targets=targets, classes=None)


def test_frames_of_which_nothing_is_known():
    facts = check_calibration(pictures(), None, CLASSES, "photos/")
    assert facts.per_class is None and facts.remarks == ()


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_too_few(n):
    refused(rf"{n} images are too few .*; give at least {FEWEST}", images=pictures(n))


def test_just_enough():
    assert check(pictures(FEWEST)).n == FEWEST


def test_targets_of_another_number():
    refused("40 images but 39 targets", targets=labels(39))


@pytest.mark.parametrize(("wrong", "first"), [(3, 3), (-1, -1), (255, 255)])
def test_labels_out_of_range(wrong, first):
    targets = labels()
    targets[[5, 6]] = wrong
    refused(rf"2 labels lie outside 0\.\.2, the first is {first}; correct them", targets=targets)


def test_labels_that_are_no_numbers_of_classes():
    refused("labels are one whole number an image, these are float64", targets=labels().astype(float))
    refused(r"labels are one whole number an image, these are .* of shape \(40, 1\)", targets=labels()[:, None])


def test_one_class_only():
    refused("all 40 images are of class 1; give some of other classes too", targets=np.ones(40, int))


def test_repeated_images():
    images = pictures(35)
    assert check([*images, *images[:3]]).distinct == 35
    refused("only 35 of 40 images differ, at least 90% must", images=[*images, *images[:5]])


def test_images_that_differ_in_shape_only_are_two():
    image = pictures(1, (12, 12), 1)[0]
    assert check([*pictures(32), image, image.reshape(6, 24, 1)]).distinct == 34


@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 10, 10)])
def test_constant_images(colour):
    even = [np.full((8, 8 + i, 3), colour, np.uint8) for i in range(2)]
    assert check([*pictures(99), *even[:1]]).n == 100 == 1 / CONSTANT
    refused("2 of 100 images are of one even colour", images=[*pictures(98), *even])
    refused("only 1 of 40 images differ", images=[even[0]] * 40)


def noise(kind, n, size):
    if kind == "uniform":
        return RNG.integers(0, 256, (n, *size), dtype=np.uint8)
    if kind == "Gaussian":
        return np.clip(RNG.normal(128, 40, (n, *size)), 0, 255).astype(np.uint8)
    return (RNG.random((n, *size)) < 0.2).astype(np.uint8) * 255


@pytest.mark.parametrize("kind", ["uniform", "Gaussian", "salt"])
@pytest.mark.parametrize("size", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (60, 100, 3)])
def test_noise(kind, size):
    refused(
        rf"these images look like random noise: .* by -?0\.0\d, in pictures by {CORRELATED}",
        images=noise(kind, 32, size),
    )


def test_noise_of_differing_brightness_is_noise_still():
    images = [
        image // 4 + shift
        for image, shift in zip(noise("uniform", 40, (16, 16, 1)), np.arange(40, dtype=np.uint8), strict=True)
    ]
    refused("these images look like random noise", images=images)


def test_a_few_noisy_frames_among_pictures_do_no_harm():
    assert check([*pictures(30), *noise("uniform", 10, (12, 16, 3))]).n == 40


def test_stripes_are_pictures_whichever_way_they_run():
    rows = [np.repeat(RNG.integers(0, 256, (1, 24, 1), dtype=np.uint8), 24, axis=0) for _ in range(40)]
    assert check(rows).n == check([r.transpose(1, 0, 2) for r in rows]).n == 40


@pytest.mark.parametrize("axis", [0, 1])
def test_images_of_one_row_or_column(axis):
    assert check([np.sort(p.reshape(-1, 1, 3), axis=0).swapaxes(0, axis) for p in pictures()]).n == 40


def test_correlation_against_numpys():
    image = pictures(1)[0][:, :, :1]
    flat = image[:, :, 0].astype(float)
    right, below = ((flat[:, 1:], flat[:, :-1]), (flat[1:], flat[:-1]))
    both = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in (right, below)]
    assert min(both) <= neighbours(image) <= max(both)


def test_of_a_large_image_the_middle_is_looked_at():
    image = noise("uniform", 1, (LOOKED_AT + 100, LOOKED_AT + 60, 1))[0]
    assert abs(neighbours(image)) < 0.01
    image[50:-50, 30:-30] = np.arange(LOOKED_AT, dtype=np.uint16)[:, None, None] // 2
    assert neighbours(image) > 0.99


def test_classes_without_images_are_remarked_on():
    classes = [*CLASSES, *(f"other {i}" for i in range(7))]
    facts = check(classes=classes)
    assert facts.per_class == (14, 13, 13, *[0] * 7)
    assert facts.remarks == (
        "7 of 10 classes have no calibration image: other 0, other 1, other 2, other 3, other 4, ...",
    )


def test_a_rare_class_is_remarked_on():
    targets = np.array([0] * 20 + [1] * 18 + [2] * 2)
    assert check(targets=targets).remarks == ()
    targets[20:22] = 0
    assert check(targets=targets).remarks == (
        "class cat has 22 calibration images and class owl 2: what is fitted to them holds for cat first",
    )


def test_digits_are_pictures():
    images = pytest.importorskip("sklearn.datasets").load_digits().images
    images = np.rint(images * (255 / 16)).astype(np.uint8)[..., None]
    for start in range(0, len(images) - 31, 32):
        found = [neighbours(image) for image in images[start : start + 32]]
        assert np.median(found) > 2 * CORRELATED


def test_sparse_images_with_sensor_noise_are_pictures():
    pytest.importorskip("sklearn")
    from toolkit.data.counting import load_counting

    images = load_counting(0, {"train": 64, "calibration": 64, "test": 64}).calibration.images
    for start in (0, 32):
        assert np.median([neighbours(images[i]) for i in range(start, start + 32)]) > 2 * CORRELATED


def test_clothes_are_pictures():
    from toolkit.data.fashion import DEBIAN, load_fashion_mnist

    if not DEBIAN.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    images = load_fashion_mnist(None, 0).test.images
    assert np.median([neighbours(images[i]) for i in range(320)]) > 3 * CORRELATED
