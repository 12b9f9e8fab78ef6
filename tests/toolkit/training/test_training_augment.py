"""Random maps of images: where they come from, and what they do to pixels."""

import math

import pytest
import torch

from toolkit.training.augment import ROTATION_DEGREES, SCALE, SHIFT, draw, warp
from toolkit.training.seeds import generator

IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def test_the_identity_changes_nothing() -> None:
    image = torch.rand(1, 3, 5, 9)
    torch.testing.assert_close(warp(image, IDENTITY), image, atol=1e-5, rtol=1e-5)


def test_a_shift_moves_whole_pixels_and_continues_the_border() -> None:
    image = torch.arange(12.0).view(1, 1, 2, 6)
    maps = IDENTITY.clone()
    maps[0, 0, 2] = 2 * 2 / 6
    expected = [[2.0, 3.0, 4.0, 5.0, 5.0, 5.0], [8.0, 9.0, 10.0, 11.0, 11.0, 11.0]]
    torch.testing.assert_close(warp(image, maps)[0, 0], torch.tensor(expected), atol=1e-4, rtol=0)


def test_maps_stay_within_their_bounds() -> None:
    maps = draw(2000, (16, 16), False, generator(0, "augment", 0, 0))
    scale = maps[:, :, :2].det().sqrt()
    angle = torch.atan2(maps[:, 1, 0], maps[:, 1, 1])
    assert 1 - SCALE <= scale.min() < 1 - 0.9 * SCALE and 1 + 0.9 * SCALE < scale.max() <= 1 + SCALE + 1e-6
    assert 0.9 < angle.abs().max() / math.radians(ROTATION_DEGREES) <= 1 + 1e-5
    assert 0.9 < maps[:, :, 2].abs().max() / (2 * SHIFT) <= 1


def test_a_rotation_keeps_angles_on_an_image_that_is_no_square() -> None:
    height, width = 10, 30
    maps = draw(50, (height, width), True, generator(0, "augment", 0, 0))
    pixels = torch.diag(torch.tensor([width / 2, height / 2]))
    inside = pixels @ maps[:, :, :2] @ pixels.inverse()
    gram = inside @ inside.transpose(1, 2)
    torch.testing.assert_close(gram, gram[:, :1, :1] * torch.eye(2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_half_of_the_photographs_are_mirrored(flip: bool) -> None:
    maps = draw(2000, (16, 16), flip, generator(0, "augment", 0, 0))
    mirrored = (maps[:, :, :2].det() < 0).float().mean()
    assert mirrored == 0 if not flip else 0.45 < mirrored < 0.55


def test_the_same_epoch_draws_the_same_maps_and_another_draws_others() -> None:
    maps = [draw(5, (8, 8), True, generator(0, "augment", *place)) for place in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2]) and not torch.equal(maps[0], maps[3])
