"""From settings and data to a model: defaults, what is recognised, and what becomes of a checkpoint's own head."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jetson.errors import BadInput, DataError, ModelError
from tests.toolkit.training.small import CLASSES, plan, settings, squares
from toolkit.data.dataset import Part
from toolkit.training.compose import compose


def test_the_defaults_follow_the_data() -> None:
    found = plan(patch_size=None, depth=None, exits="12:mlp")
    assert found.model.backbone.tokens.grid == (2, 2)
    assert found.model.backbone.depth == 12
    assert (found.recipe.strategy, found.recipe.augment, found.recipe.limit) == ("end-to-end", True, None)
    large = compose(settings(patch_size=None, image_size=(20, 24)), squares())
    assert large.model.backbone.tokens.grid == (5, 6)
    assert large.model.config.preprocessing.height == 20
    assert plan("regression").recipe.augment is False
    assert plan("regression", augment=True).recipe.augment is True


def test_the_normalisation_is_that_of_the_training_images() -> None:
    data = squares(channels=3)
    config = compose(settings(), data).model.config.preprocessing
    pixels = np.stack(list(data.train.images)) / 255
    assert config.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-6)
    assert config.std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-6)


def test_a_constant_channel_does_not_divide_by_nothing() -> None:
    data = squares()
    black = replace(data, train=Part(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 2, 0])))
    assert compose(settings(), black).model.config.preprocessing.std[0] > 0.003


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first = plan().model.state_dict()
    torch.rand(5)
    second, other = plan().model.state_dict(), plan(seed=1).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.stem.positions"], other["backbone.stem.positions"])


def test_a_limit_draws_from_all_training_images() -> None:
    everything, some = plan().data.train, plan(limit=12).data.train
    assert len(some) == 12 and plan(limit=12).recipe.limit == 12
    assert set(some.digests) < set(everything.digests)
    assert some.digests != everything.head(12).digests
    assert plan(limit=12).recipe.batch_size == 8 and plan(limit=6).recipe.batch_size == 6
    assert plan(limit=1000).recipe.limit is None, "a limit that limits nothing is none"


def test_it_says_what_it_recognised() -> None:
    notes = plan(limit=12).notes
    assert notes[0] == "data: squares, 3 classes, images 8x8x1, 12 of 40 train, 15 calibration, 17 test"
    assert notes[1] == (
        "backbone: vit, random weights, 2 layers of width 32, 1 prefix token, image 8x8x1 in 2x2 patches, "
        "normalised by the training images"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exits": " "}, "no early exits given; write them as LAYER:BRANCH, e.g. --exits 2:mlp"),
        ({"epochs": 0}, "--epochs 0: must be 1 or more"),
        ({"batch_size": 1}, "--batch-size 1: must be 2 or more"),
        ({"limit": 1}, "--limit 1"),
        ({"seed": -1}, "--seed -1"),
        ({"depth": 0}, "--depth 0"),
        ({"patch_size": 0}, "--patch-size 0"),
        ({"distillation": 1.5}, "--distill 1.5: must lie between 0 and 1"),
        ({"distillation": float("nan")}, "--distill nan"),
        ({"label_smoothing": -0.1}, "--label-smoothing -0.1"),
        ({"learning_rate": 0.0}, "--lr 0.0: must be a positive number"),
        ({"learning_rate": float("inf")}, "--lr inf"),
        ({"weight_decay": -1.0}, "weight decay -1.0"),
        ({"image_size": (0, 8)}, "--image-size"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as error:
        settings(**changes).check()
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "enormous"}, "--backbone enormous: neither a size (tiny, small, base) nor a folder"),
        ({"exits": "3:mlp"}, "layer 3 is out of range, the backbone has layers 1..2"),
        ({"patch_size": 3}, "an image of 8x8 does not divide into patches of 3x3"),
        ({"image_size": (900, 900), "patch_size": None}, "make 50,625 patches of 4x4; give --image-size and"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as error:
        plan(**changes)
    assert words in str(error.value)


@pytest.fixture
def pretrained(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    def make(labels: tuple[str, ...] = CLASSES, name: str = "ViTForImageClassification") -> tuple[Path, Any]:
        import transformers

        config_class = transformers.DeiTConfig if name.startswith("DeiT") else transformers.ViTConfig
        config = config_class(
            hidden_size=32,
            num_attention_heads=4,
            num_hidden_layers=3,
            intermediate_size=64,
            image_size=8,
            patch_size=4,
            id2label=dict(enumerate(labels)),
        )
        model = getattr(transformers, name)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.3)
        transformers.utils.logging.disable_progress_bar()
        model.save_pretrained(tmp_path / "pretrained")
        return tmp_path / "pretrained", model

    return make


def from_checkpoint(folder: Path, task: str = "classification", **changes: Any) -> Any:
    chosen = settings(backbone=str(folder), patch_size=None, depth=None, **{"exits": "1:mlp,2:cnn-add", **changes})
    return compose(chosen, squares(task))


@pytest.mark.parametrize("name", ["ViTForImageClassification", "DeiTForImageClassificationWithTeacher"])
def test_a_head_that_fits_is_kept(name: str, pretrained: Callable[..., tuple[Path, Any]]) -> None:
    folder, theirs = pretrained(name=name)
    found = from_checkpoint(folder)
    assert found.pretrained and not found.new_head
    assert found.recipe.strategy == "classifier-wise"
    assert "head: the checkpoint's own, kept" in found.notes
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(found.model.eval()(pixels)[-1], theirs(pixels).logits, atol=1e-5, rtol=0)


def test_a_kept_head_answers_in_the_order_of_the_data(pretrained: Callable[..., tuple[Path, Any]]) -> None:
    folder, theirs = pretrained(labels=("right", "left", "middle"))
    found = from_checkpoint(folder)
    assert found.notes[-1].endswith("kept, its classes put in the order of the data")
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = theirs(pixels).logits[:, [1, 2, 0]]
        torch.testing.assert_close(found.model.eval()(pixels)[-1], expected, atol=1e-5, rtol=0)


def test_classes_of_other_names_are_mentioned(pretrained: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = pretrained(labels=("cat", "dog", "cow"))
    assert (
        "its classes (cat, dog, cow) are taken to be the data's (left, middle, right)"
        in (from_checkpoint(folder).notes[-1])
    )


def test_a_head_that_does_not_fit_is_replaced_and_mentioned(pretrained: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = pretrained(labels=("a", "b"))
    found = from_checkpoint(folder)
    assert found.new_head
    assert found.notes[-1] == "head: new, 3 outputs (the checkpoint's has 2)"
    folder, _ = pretrained(name="ViTModel")
    assert from_checkpoint(folder).notes[-1] == "head: new, 3 outputs (the checkpoint has none)"


def test_a_kept_regression_head_begins_where_it_was(pretrained: Callable[..., tuple[Path, Any]]) -> None:
    from toolkit.training.standardise import all_to_raw, spread

    folder, theirs = pretrained(labels=("value",))
    found = from_checkpoint(folder, "regression")
    all_to_raw(found.model, *spread(found.data.train.targets))
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        answers = found.model.eval()(pixels)[-1]
        torch.testing.assert_close(answers, theirs(pixels).logits, atol=0.05, rtol=1e-4)


def test_a_checkpoint_has_its_own_depth_and_patches(pretrained: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = pretrained()
    for option in ({"depth": 2}, {"patch_size": 2}):
        with pytest.raises(ModelError, match="a checkpoint has its own"):
            compose(settings(**{"backbone": str(folder), "depth": None, "patch_size": None, **option}), squares())


def test_images_with_too_many_channels_are_refused(pretrained: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = pretrained()
    chosen = settings(backbone=str(folder), depth=None, patch_size=None)
    with pytest.raises(DataError, match=r"the images have 4 channels, the backbone in .* takes 3"):
        compose(chosen, squares(channels=4))
