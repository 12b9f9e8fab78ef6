"""Images as batches."""

import numpy as np
import pytest
import torch

from jetson.manifest import Preprocessing
from jetson.preprocessing import Preprocessor
from toolkit.data.dataset import Part
from toolkit.training.dataset import Frames, Shuffled, evaluation_loader, training_loader
from toolkit.training.seeds import derived, generator

CONFIG = Preprocessing(height=6, width=8, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


@pytest.fixture
def part() -> Part:
    rng = np.random.default_rng(0)
    return Part(rng.integers(0, 256, (11, 9, 7, 1), dtype=np.uint8), np.arange(11))


def test_images_are_prepared_as_on_the_device(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Frames(part, CONFIG)
    monkeypatch.setattr("toolkit.training.dataset.KEEP_BYTES", 0)
    lazy = Frames(part, CONFIG)
    assert ready.ready is not None and lazy.ready is None
    for frames in (ready, lazy):
        pixels, targets, indices = frames.__getitems__([7, 2])
        assert (targets.tolist(), indices.tolist()) == ([7, 2], [7, 2])
        expected = np.stack([Preprocessor(CONFIG)(part.images[i]) for i in (7, 2)])
        assert np.array_equal(pixels.numpy(), expected)


def test_training_sees_full_batches_in_an_order_of_its_own(part: Part) -> None:
    frames, order = Frames(part, CONFIG), Shuffled(len(part))
    loader = training_loader(frames, order, 4)
    seen = []
    for epoch in (0, 1, 0):
        order.shuffle(generator(0, "order", 0, epoch))
        batches = [indices.tolist() for _, _, indices in loader]
        assert [len(b) for b in batches] == [4, 4]
        seen.append([index for batch in batches for index in batch])
        assert len(set(seen[-1])) == 8
    assert seen[0] == seen[2] != seen[1]


def test_evaluation_sees_every_image_once_in_order(part: Part) -> None:
    found = torch.cat([indices for _, _, indices in evaluation_loader(Frames(part, CONFIG), 3)])
    assert found.tolist() == list(range(11))


def test_seeds_differ_by_purpose_and_place_and_do_not_change() -> None:
    places = [("order", 0, 0), ("order", 0, 1), ("order", 1, 0), ("augment", 0, 0), ("weights",)]
    assert len({derived(seed, *place) for place in places for seed in (0, 1)}) == 10
    assert derived(0, "order", 0, 0) == 2918264622725855778
