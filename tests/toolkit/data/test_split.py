import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jetson.errors import DataError
from toolkit.data.dataset import Part
from toolkit.data.split import balanced_order, cut, share


def numbered(labels):
    """Images that carry their own index, so that a cut can be followed."""
    n = len(labels)
    images = np.zeros((n, 1, 2, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(n) % 256, np.arange(n) // 256
    return Part(images, np.asarray(labels, np.int64))


def indices(part):
    return [int(i[0, 0, 0]) + 256 * int(i[0, 1, 0]) for i in part.images]


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=4, max_size=80),
    fractions=st.tuples(st.floats(0.05, 0.4), st.floats(0.05, 0.4)),
    seed=st.integers(0, 2**32),
)
def test_a_cut_is_a_stratified_partition(labels, fractions, seed):
    part = numbered(labels)
    sizes = [share(part, f) for f in fractions]
    assume(sum(sizes) < len(labels))
    pieces = cut(part, sizes, seed, "x")
    assert [len(p) for p in pieces] == [*sizes, len(labels) - sum(sizes)]
    assert sorted(i for p in pieces for i in indices(p)) == list(range(len(labels)))
    for piece in pieces:
        assert piece.targets.tolist() == [labels[i] for i in indices(piece)]
        for label in set(labels):
            fair = labels.count(label) * len(piece) / len(labels)
            # One image of rounding at each end of the piece, and as much for what five small classes round together.
            assert abs((piece.targets == label).sum() - fair) <= 3
    again = cut(part, sizes, seed, "x")
    assert [p.sha256 for p in again] == [p.sha256 for p in pieces]


def test_another_seed_is_another_cut():
    part = numbered([0, 1] * 20)
    assert indices(cut(part, [10], 0, "x")[0]) != indices(cut(part, [10], 1, "x")[0])


def test_equal_classes_are_cut_exactly():
    part = numbered(np.repeat(np.arange(10), 50))
    for piece, each in zip(cut(part, [75, 75], 3, "x"), (7.5, 7.5, 35), strict=True):
        assert np.abs(np.bincount(piece.targets) - each).max() <= 0.5


def test_the_head_of_a_balanced_order_is_a_fair_sample():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = balanced_order(labels)
    assert sorted(order) == list(range(100))
    assert np.bincount(labels[order[:10]]).tolist() == [6, 3, 1]
    assert (np.diff(order[labels[order] == 0]) > 0).all()


def test_values_are_cut_without_strata():
    part = Part(numbered([0] * 9).images, np.arange(9, dtype=np.float32)[:, None])
    first, rest = cut(part, [4], 0, "x")
    assert sorted([*indices(first), *indices(rest)]) == list(range(9))
    assert first.targets[:, 0].tolist() == indices(first)


def test_too_few_images_cannot_be_cut():
    with pytest.raises(DataError, match="here: 2 images are too few to cut into 3 parts"):
        cut(numbered([0, 1]), [1, 1], 0, "here")
