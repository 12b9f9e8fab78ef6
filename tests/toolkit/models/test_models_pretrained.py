"""A `transformers` checkpoint gives the same logits here, at its own image size and at another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jetson.errors import ModelError
from toolkit.models.backbone import Backbone
from toolkit.models.pretrained import load_pretrained

Make = Callable[..., tuple[Path, Any]]
# class, configuration, prefix tokens, image, patch, another image
FAMILIES = [
    ("ViTForImageClassification", "ViTConfig", 1, 20, 4, (28, 36)),
    ("DeiTForImageClassification", "DeiTConfig", 2, 18, 6, (30, 24)),
    ("DeiTForImageClassificationWithTeacher", "DeiTConfig", 2, 20, 5, (30, 25)),
    ("Dinov2ForImageClassification", "Dinov2Config", 1, 21, 7, (28, 42)),
    ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", 5, 24, 8, (40, 32)),
]


def adapted(folder: Path, image: tuple[int, int] | None = None) -> Backbone:
    found = load_pretrained(folder, image)
    backbone = Backbone(found.config, 5, found.encoder)
    head = backbone.head
    for ours, theirs in zip((head.classifier, head.distillation), found.heads, strict=False):
        ours.load_state_dict(theirs.state_dict())
    return backbone.eval()


@torch.no_grad()
def logits(backbone: Backbone, pixels: torch.Tensor) -> torch.Tensor:
    tokens = backbone.stem(pixels)
    for layer in backbone.layers:
        tokens = layer(tokens)
    return backbone.head(tokens)


@pytest.mark.parametrize(("name", "config", "prefix", "image", "patch", "other"), FAMILIES)
def test_logits_are_those_of_transformers(
    name: str, config: str, prefix: int, image: int, patch: int, other: tuple[int, int], checkpoint_of: Make
) -> None:
    folder, theirs = checkpoint_of(name, config, image_size=image, patch_size=patch)
    for size in (None, other):
        backbone = adapted(folder, size)
        height, width = size or (image, image)
        assert backbone.tokens.prefix == prefix
        assert backbone.tokens.grid == (height // patch, width // patch)
        pixels = torch.randn(3, 3, height, width)
        # DINOv2 resizes its positions by itself, the others when asked.
        options = {} if size is None or name.startswith("Dinov2") else {"interpolate_pos_encoding": True}
        with torch.no_grad():
            expected = theirs(pixels, **options).logits
        torch.testing.assert_close(logits(backbone, pixels), expected, atol=1e-5, rtol=0)
        assert expected.std() > 0.05, "the comparison would pass for logits that are all alike"


def test_a_gated_dinov2_and_a_grey_vit_work_too(checkpoint_of: Make) -> None:
    folder, theirs = checkpoint_of(
        "Dinov2ForImageClassification", "Dinov2Config", image_size=14, patch_size=7, use_swiglu_ffn=True, num_channels=1
    )
    pixels = torch.randn(2, 1, 14, 14)
    with torch.no_grad():
        torch.testing.assert_close(logits(adapted(folder), pixels), theirs(pixels).logits, atol=1e-5, rtol=0)
    assert load_pretrained(folder).mean == (0.5,)


def test_a_bare_encoder_has_no_head(checkpoint_of: Make) -> None:
    folder, theirs = checkpoint_of("ViTModel", "ViTConfig", image_size=8, patch_size=4)
    found = load_pretrained(folder)
    assert found.heads == () and found.labels is None
    pixels = torch.randn(2, 3, 8, 8)
    backbone = Backbone(found.config, 5, found.encoder).eval()
    with torch.no_grad():
        tokens = backbone.stem(pixels)
        for layer in backbone.layers:
            tokens = layer(tokens)
        expected = theirs(pixels).last_hidden_state
        torch.testing.assert_close(backbone.head.norm(tokens), expected, atol=1e-5, rtol=0)


def test_labels_and_normalisation_are_found(checkpoint_of: Make) -> None:
    labels = {i: f"label {i}" for i in range(5)}
    folder, _ = checkpoint_of("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4, id2label=labels)
    found = load_pretrained(folder)
    assert found.labels == tuple(labels.values())
    assert (found.mean, found.std) == ((0.5,) * 3, (0.5,) * 3)
    assert "no preprocessor_config.json" in found.normalisation
    numbers = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(numbers))
    found = load_pretrained(folder)
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "20KB"}], ids=["one file", "several"])
def test_other_weights_have_another_digest(shards: dict[str, str], checkpoint_of: Make) -> None:
    folder, model = checkpoint_of("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4)
    digests = set()
    for _ in range(2):
        for file in folder.glob("model*"):
            file.unlink()
        model.save_pretrained(folder, **shards)
        assert (folder / "model.safetensors").exists() != bool(shards)
        digests.add(load_pretrained(folder).config.pretrained)
        with torch.no_grad():
            model.classifier.bias.add_(1)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json in it"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "model type 'bert' is not supported"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights in it"),
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), "transformers cannot load it"),
    ],
)
def test_a_damaged_directory_is_one_line(damage: Callable[[Path], Any], words: str, checkpoint_of: Make) -> None:
    folder, _ = checkpoint_of("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4)
    damage(folder)
    with pytest.raises(ModelError, match=words) as error:
        load_pretrained(folder)
    assert "\n" not in str(error.value)


def test_missing_weights_are_named(checkpoint_of: Make) -> None:
    from safetensors.torch import load_file, save_file

    folder, _ = checkpoint_of("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4)
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if "layernorm_before" in n)
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"do not fill a ViTForImageClassification \(first: .*layernorm_before"):
        load_pretrained(folder)


def test_an_image_smaller_than_a_patch_is_refused(checkpoint_of: Make) -> None:
    folder, _ = checkpoint_of("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4)
    with pytest.raises(ModelError, match="smaller than one patch"):
        load_pretrained(folder, (3, 8))
