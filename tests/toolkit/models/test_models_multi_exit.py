"""The model with its exits, and its segments."""

import pytest
import torch

from jetson.errors import ModelError
from tests.toolkit.models.small import small_config
from toolkit.models.backbone import sized_backbone
from toolkit.models.config import ExitConfig
from toolkit.models.count import flops, parameters
from toolkit.models.multi_exit import MultiExitModel


def test_exits_end_in_the_head(model: MultiExitModel) -> None:
    assert [e.name for e in model.exits] == ["1:mlp", "2:cnn-add", "3:vit", "3:head"]
    assert model.cuts == (1, 2, 3)
    assert [tuple(answer.shape) for answer in model(torch.randn(2, 1, 8, 12))] == [(2, 5)] * 4


def test_segments_in_a_row_are_the_whole(model: MultiExitModel) -> None:
    pixels = torch.randn(2, 1, 8, 12)
    tokens, found = pixels, []
    for segment in model.segments():
        tokens = segment(tokens)
        found.append(tokens)
    assert all(torch.equal(a, b) for a, b in zip(found, model.tokens(pixels), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(model.answers(found), model(pixels), strict=True))


def test_segments_share_the_weights_and_count_them_once(model: MultiExitModel) -> None:
    own = {id(p) for p in model.backbone.parameters()}
    assert all(id(p) in own for segment in model.segments() for p in segment.parameters())
    backbone = sum(parameters(s) for s in model.segments()) + parameters(model.backbone.head)
    assert backbone == parameters(model.backbone)


def test_counts_of_a_segment_are_those_worked_out_by_hand(model: MultiExitModel) -> None:
    width, tokens, patches, pixels = 32, 7, 6, 16
    layer = 12 * width**2 + 13 * width
    stem = pixels * width + width + width + tokens * width
    first = model.segments()[0]
    assert parameters(first) == stem + layer
    products = patches * pixels * width + tokens * 12 * width**2 + 2 * tokens**2 * width
    assert flops(first, torch.randn(1, 1, 8, 12)) == 2 * products


def test_an_exit_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="layer 4 is out of range"):
        MultiExitModel(small_config((ExitConfig(layer=4, architecture="mlp"),)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("huge", (32, 32), 4, 1), "unknown backbone size 'huge'; the sizes are tiny, small, base"),
        (("tiny", (30, 32), 4, 1), "an image of 30x32 does not divide into patches of 4x4"),
        (("tiny", (32, 32), 0, 1), "must be positive"),
    ],
)
def test_an_impossible_size_is_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        sized_backbone(*arguments)
