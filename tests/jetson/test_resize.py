"""Preprocessing in small matrix products: that it is the plain formula, and allocates nothing of a frame's size."""

import pickle
import threading
import tracemalloc

import numpy as np
import pytest

from jetson import resize
from jetson.manifest import Preprocessing
from jetson.preprocessing import MAX_EDGE, Preprocessor
from jetson.resize import ALONE, GROUPS, TILE, plan_of

RNG = np.random.default_rng(0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(height, width, channels=3):
    return Preprocessor(
        Preprocessing(height=height, width=width, channels=channels, mean=MEAN[:channels], std=STD[:channels])
    )


def frame(height, width, channels=3):
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def axis(source, target):
    """Weights of every source pixel for every target pixel: a triangle around the target's centre."""
    scale = source / target
    centres = (np.arange(target)[:, None] + 0.5) * scale - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source) - centres) / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def plain(image, height, width, channels):
    """Rows, columns, division by 255, mean and deviation, layout; in double precision."""
    rows, columns = axis(image.shape[0], height), axis(image.shape[1], width)
    resized = rows @ image.transpose(2, 0, 1).astype(np.float64) @ columns.T
    mean, std = (np.array(v[:channels])[:, None, None] for v in (MEAN, STD))
    return (resized / 255 - mean) / std


SIZES = [(480, 640), (721, 1279), (224, 500), (500, 224), (223, 225), (100, 30), (1, 1), (2, 3000), (3000, 2), (7, 9)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(96, 80), (17, 33), (1, 1)])
def test_the_products_are_the_plain_formula(size, target):
    image = frame(*size)
    assert make(*target)(image) == pytest.approx(plain(image, *target, 3), abs=2e-5)


@pytest.mark.parametrize(("given", "channels"), [(1, 1), (1, 3), (5, 5)])
def test_any_number_of_channels(given, channels):
    image = frame(90, 120, given)
    prepare = Preprocessor(
        Preprocessing(height=40, width=70, channels=channels, mean=(0.5,) * channels, std=(1.0,) * channels)
    )
    expected = axis(90, 40) @ image.transpose(2, 0, 1).astype(np.float64) @ axis(120, 70).T
    assert prepare(image) == pytest.approx(np.broadcast_to(expected / 255 - 0.5, (channels, 40, 70)), abs=1e-5)


def test_the_longest_edges_are_taken_in_little_memory():
    for size in ((1, MAX_EDGE), (MAX_EDGE, 1)):
        image = frame(*size)
        assert make(16, 16)(image) == pytest.approx(plain(image, 16, 16, 3), abs=2e-5)
    plan = plan_of((MAX_EDGE, MAX_EDGE, 3), (224, 224))
    assert sum(plan.scratch) <= 2 * TILE + 3 * GROUPS[-1] * (MAX_EDGE + 224)


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (4000, 3000)])
@pytest.mark.parametrize("target", [56, 224])
def test_products_stay_in_the_calling_thread(size, target):
    plan = plan_of((*size, 3), (target, target))
    for group in plan.groups:
        assert all(band.weights.size * group.tile * 3 <= ALONE for band in group.rows)
    lines = 3 * max(group.stop - group.start for group in plan.groups)
    assert all(band.weights.size * lines <= ALONE for band in plan.columns)


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (224, 224)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_second_frame_of_a_size_allocates_nothing_that_grows_with_it(size, channels):
    prepare, out = make(224, 224), np.empty((3, 224, 224), np.float32)
    first, second = frame(*size, channels), frame(*size, channels)
    prepare(first, out)
    assert first.nbytes > 20_000
    assert _allocated(lambda: prepare(second, out)) < 20_000 + CASTING


def test_a_prepared_frame_is_checked_without_a_copy():
    prepare, out = make(224, 224), np.empty((3, 224, 224), np.float32)
    assert _allocated(lambda: prepare(np.broadcast_to(np.float32(1), (3, 224, 224)), out)) < 20_000 + CASTING


CASTING = 0 if np.lib.NumpyVersion(np.__version__) >= "2.3.0" else 3 * 4 * np.getbufsize()
"""Bytes that NumPy 2.2, Python 3.10's last, holds while it casts three channels, whatever the frame's size."""


def _allocated(act):
    """Bytes at the worst moment."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_buffers_are_shared_by_all_sizes():
    prepare, shapes = make(56, 56), [(100, width, 3) for width in range(200, 200 + 2 * resize.MAX_SIZES)]
    for shape in shapes:
        prepare(frame(*shape))
    needed = np.array([plan_of(shape, (56, 56)).scratch for shape in shapes])
    assert [b.size for b in prepare._resize._scratch] == needed.max(axis=0).tolist()


def test_threads_may_share_one():
    prepare, images = make(56, 56), [frame(200 + 10 * i, 300) for i in range(4)]
    expected = [prepare(image).copy() for image in images]
    wrong = []

    def work(index):
        for _ in range(30):
            if not np.array_equal(prepare(images[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_it_goes_to_other_processes():
    prepare, image = make(32, 48), frame(90, 120)
    prepare(image)
    assert (pickle.loads(pickle.dumps(prepare))(image) == prepare(image)).all()
