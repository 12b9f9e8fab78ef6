"""A timm state dict gives the tokens and logits of the `transformers` model whose weights it has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jetson.errors import ModelError
from tests.toolkit.models.timm_files import DEPTH, HEADS, OUTPUTS, Theirs, save, vit, without_class_position
from toolkit.models.backbone import Backbone
from toolkit.models.pretrained import Pretrained, fill_head
from toolkit.models.timm import load_timm

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def as_it_is(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights


def as_its_authors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The DINOv2 with registers of its authors: another name, and a token for masks."""
    changed = weights | {"register_tokens": weights["reg_token"], "mask_token": torch.zeros(1, 32)}
    return {name: tensor for name, tensor in changed.items() if name != "reg_token"}


def with_register_positions(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A part of each register moved into a position of its own."""
    share = torch.randn(1, 4, 32)
    table = weights["pos_embed"]
    table = torch.cat([table[:, :1], share, table[:, 1:]], dim=1)
    return weights | {"reg_token": weights["reg_token"] - share, "pos_embed": table}


def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module._orig_mod.{name}": tensor for name, tensor in weights.items()}


def averaged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's `global_pool="avg"`: the last norm is behind the average of the patch tokens."""
    return {name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: t for name, t in weights.items()}


# model, classifiers, settings, change, family, prefix tokens
MODELS: list[tuple[str, int, dict[str, Any], Change, str, int]] = [
    ("ViT", 1, {}, as_it_is, "vit", 1),
    ("ViT", 0, {}, as_it_is, "vit", 1),
    ("ViT", 1, {}, without_class_position, "vit", 1),
    ("ViT", 1, {"patch_size": 7, "image_size": 21, "num_channels": 1}, as_it_is, "vit", 1),
    ("ViT", 1, {"patch_size": 5, "image_size": 35}, prefixed, "vit", 1),
    ("ViT", 1, {"qkv_bias": False}, as_it_is, "vit", 1),
    ("DeiT", 2, {}, as_it_is, "deit", 2),
    ("DeiT", 0, {}, as_it_is, "deit", 2),
    ("Dinov2", 0, {"patch_size": 7, "image_size": 28}, as_it_is, "dinov2", 1),
    ("Dinov2", 1, {}, without_class_position, "dinov2", 1),
    ("Dinov2WithRegisters", 0, {}, without_class_position, "dinov2_with_registers", 5),
    # 3x3 positions: with positions of class and registers, 9 entries would make 2x2
    ("Dinov2WithRegisters", 1, {"image_size": 12}, without_class_position, "dinov2_with_registers", 5),
    ("Dinov2WithRegisters", 1, {}, as_its_authors, "dinov2_with_registers", 5),
    ("Dinov2WithRegisters", 1, {}, with_register_positions, "dinov2_with_registers", 5),
]


@torch.no_grad()
def answers(found: Pretrained, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised tokens after the last layer, and the logits, as our model computes them."""
    backbone = Backbone(found.config, OUTPUTS, found.encoder).eval()
    if found.heads:
        fill_head(backbone.head, found.heads)
    tokens = backbone.stem(pixels)
    for layer in backbone.layers:
        tokens = layer(tokens)
    return backbone.head.norm(tokens), backbone.head(tokens)


def alike(found: Pretrained, theirs: Theirs, size: tuple[int, int]) -> None:
    pixels = torch.randn(3, theirs.encoder.config.num_channels, *size)
    tokens, logits = answers(found, pixels)
    torch.testing.assert_close(tokens, theirs.tokens(pixels), atol=1e-5, rtol=0)
    if theirs.classifiers:
        expected = theirs.logits(pixels)
        assert expected.std() > 0.05, "the comparison would pass for logits that are all alike"
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "classifiers", "settings", "change", "family", "prefix"), MODELS)
def test_tokens_and_logits_are_those_of_transformers(
    name: str, classifiers: int, settings: dict[str, Any], change: Change, family: str, prefix: int, tmp_path: Path
) -> None:
    theirs = vit(name, classifiers, **settings)
    found = load_timm(save(tmp_path / "model.safetensors", change(theirs.weights)), heads=HEADS)
    assert found.config.family == family and len(found.heads) == classifiers
    image, patch = theirs.encoder.config.image_size, theirs.encoder.config.patch_size
    shape = Backbone(found.config, OUTPUTS, found.encoder).tokens
    assert (shape.prefix, shape.grid, shape.heads) == (prefix, (image // patch, image // patch), HEADS)
    alike(found, theirs, (image, image))


def test_an_average_may_be_read_instead_of_the_class_token(tmp_path: Path) -> None:
    theirs = vit()
    pixels = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        tokens = theirs.encoder(pixels, output_hidden_states=True).hidden_states[-1]
        norm, classifier = theirs.encoder.layernorm, theirs.classifiers[0]
        expected = classifier(norm(tokens[:, 1:].mean(dim=1)))
        beside = classifier(norm(tokens)[:, 1:].mean(dim=1))
    found = load_timm(save(tmp_path / "a" / "model.pth", averaged(theirs.weights)), heads=HEADS)
    assert found.config.pooling == "mean-first"
    torch.testing.assert_close(answers(found, pixels)[1], expected, atol=1e-5, rtol=0)
    file = save(tmp_path / "b" / "model.pth", theirs.weights)
    (tmp_path / "b" / "config.json").write_text('{"architecture": "vit_x", "global_pool": "avg"}')
    found = load_timm(file, heads=HEADS)
    assert found.config.pooling == "mean"
    torch.testing.assert_close(answers(found, pixels)[1], beside, atol=1e-5, rtol=0)


def test_a_model_without_class_token_has_patches_alone(tmp_path: Path) -> None:
    theirs = vit()
    weights = without_class_position(theirs.weights)
    del weights["cls_token"]
    found = load_timm(save(tmp_path / "model.pth", averaged(weights)), (24, 20), HEADS)
    backbone = Backbone(found.config, OUTPUTS, found.encoder).eval()
    assert (backbone.tokens.prefix, backbone.tokens.grid) == (0, (6, 5))
    # The layers are those of the model with a class token; of its tokens only the patches go through.
    embeddings = theirs.encoder.embeddings
    pixels = torch.randn(2, 3, 24, 20)
    with torch.no_grad():
        tokens = embeddings(pixels, interpolate_pos_encoding=True)[:, 1:]
        torch.testing.assert_close(backbone.stem(pixels), tokens, atol=1e-5, rtol=0)
        for layer in theirs.encoder.layers:
            out = layer(tokens)
            tokens = out[0] if isinstance(out, tuple) else out
        expected = theirs.classifiers[0](theirs.encoder.layernorm(tokens.mean(dim=1)))
    torch.testing.assert_close(answers(found, pixels)[1], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_ema"])
@pytest.mark.parametrize("suffix", [".pth", ".bin"])
def test_a_file_of_torch_save_is_unwrapped(wrapper: str | None, suffix: str, tmp_path: Path) -> None:
    theirs = vit()
    found = load_timm(save(tmp_path / f"model{suffix}", theirs.weights, wrapper), heads=HEADS)
    alike(found, theirs, (16, 16))
    assert any(f"from under {wrapper!r}" in remark for remark in found.remarks) == (wrapper is not None)


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    theirs = vit()
    theirs.encoder.half().float()
    theirs.classifiers[0].half().float()
    half = {name: tensor.half() for name, tensor in theirs.weights.items()}
    alike(load_timm(save(tmp_path / "model.safetensors", half), heads=HEADS), theirs, (16, 16))


def test_another_image_size_resizes_the_positions_as_transformers_does(tmp_path: Path) -> None:
    theirs = vit("Dinov2")
    found = load_timm(save(tmp_path / "model.pth", theirs.weights), (20, 28), HEADS)
    assert found.config.transformers["image_size"] == [20, 28]
    alike(found, theirs, (20, 28))


def test_registers_without_layer_scale_have_one_of_ones(tmp_path: Path) -> None:
    theirs = vit("Dinov2WithRegisters")
    with torch.no_grad():
        for name, parameter in theirs.encoder.named_parameters():
            if "lambda1" in name:
                parameter.fill_(1)
    plain = {name: tensor for name, tensor in theirs.weights.items() if "gamma" not in name}
    alike(load_timm(save(tmp_path / "model.pth", plain), heads=HEADS), theirs, (16, 16))


def test_what_the_shapes_do_not_say_comes_from_config_json(tmp_path: Path) -> None:
    theirs = vit(image_size=[8, 20])
    file = save(tmp_path / "model.safetensors", theirs.weights)
    own = {"input_size": [3, 9, 23], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}
    settings = {"architecture": "vit_x", "model_args": {"num_heads": HEADS}, "global_pool": "token"}
    settings |= {"pretrained_cfg": own, "label_names": list("abcde")}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    found = load_timm(file)
    assert found.config.transformers["image_size"] == [9, 23]
    assert found.labels == tuple("abcde")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)) and found.normalisation == "timm's config.json"
    assert any("as config.json says" in remark for remark in found.remarks)
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(ModelError, match="width 32 does not tell the number of attention heads"):
        load_timm(file)
    with pytest.raises(ModelError, match="pos_embed has 11 entries, which make no square; give the size"):
        load_timm(file, heads=HEADS)
    asked = load_timm(file, (8, 20), HEADS)
    assert "usual one of vit (no config.json of timm" in asked.normalisation
    alike(asked, theirs, (8, 20))


def test_a_table_that_can_be_read_in_two_ways_is_not_guessed(tmp_path: Path) -> None:
    """2x4 patches and a class token have as many entries as 3x3 patches without one."""
    theirs = vit(image_size=[8, 16])
    refused(tmp_path, theirs.weights, "pos_embed has 9 entries, which fit a square image and the one", image=(8, 16))
    (tmp_path / "config.json").write_text('{"architecture": "vit", "input_size": [3, 8, 16]}')
    alike(load_timm(tmp_path / "model.pth", heads=HEADS), theirs, (8, 16))


def test_labels_may_be_numbered_and_must_be_as_many_as_outputs(tmp_path: Path) -> None:
    file = save(tmp_path / "model.safetensors", vit().weights)
    for labels, expected in (
        ({str(i): f"n{i}" for i in range(OUTPUTS)}, tuple(f"n{i}" for i in range(OUTPUTS))),
        (["a", "b"], None),
        ({"1": "a"}, None),
    ):
        content = {"architecture": "vit_x", "mean": [0, 0, 0], "std": [1, 1, 1], "label_names": labels}
        (tmp_path / "config.json").write_text(json.dumps(content))
        found = load_timm(file, heads=HEADS)
        assert found.labels == expected and found.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("width", "heads"), [(128, 2), (192, 3), (1280, 16)])
def test_heads_follow_from_the_width_and_that_is_said(width: int, heads: int, tmp_path: Path) -> None:
    theirs = vit(hidden_size=width, num_attention_heads=heads, num_hidden_layers=1, intermediate_size=8, patch_size=8)
    found = load_timm(save(tmp_path / "model.safetensors", theirs.weights))
    assert found.config.transformers["num_attention_heads"] == heads
    assert found.remarks[-1].startswith(f"{heads} attention heads: ") and "--heads N does" in found.remarks[-1]


REFUSED = [
    ("blocks.1.mlp.w12.weight", "gated"),
    ("blocks.0.mlp.fc1_g.weight", "gated"),
    ("blocks.0.attn.q_norm.weight", "normalises queries and keys"),
    ("blocks.0.attn.relative_position_bias_table", "relative positions"),
    ("blocks.0.attn.q_bias", "BEiT"),
    ("blocks.0.gamma_1", "BEiT"),
    ("blocks.0.1.norm1.weight", "in chunks"),
    ("norm_pre.weight", "before the first layer"),
    ("attn_pool.q.weight", "pools by attention"),
    ("pre_logits.fc.weight", "further layer"),
    ("vit.embeddings.cls_token", "directory of a transformers checkpoint"),
    ("decoder_embed.weight", "masked pre-training"),
    ("layer1.0.conv1.weight", "no timm ViT, DeiT or DINOv2 has such a weight"),
    ("blocks.01.norm1.weight", "no timm ViT, DeiT or DINOv2 has such a weight"),
]


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_an_unknown_weight_is_named_and_why(name: str, why: str, tmp_path: Path) -> None:
    refused(tmp_path, vit().weights | {name: torch.ones(2)}, rf"{name} is not supported: .*{why}")


def refused(folder: Path, weights: dict[str, Any], words: str, **options: Any) -> None:
    with pytest.raises(ModelError, match=words) as error:
        load_timm(save(folder / "model.pth", weights), **{"heads": HEADS, **options})
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cls_token": None, "reg_token": (1, 4, 32)}, "reg_token without cls_token"),
        ({"fc_norm.weight": (32,), "fc_norm.bias": (32,)}, "norm.weight does not go with the other weights"),
        ({"patch_embed.proj.bias": None}, "no patch_embed.proj.bias in it"),
        ({"patch_embed.proj.weight": (32, 3, 4, 2)}, "patches of 4x2; only square ones"),
        ({"patch_embed.proj.weight": (32, 48)}, "is no shape of a ViT's"),
        ({"norm.weight": None}, "no norm.weight in it"),
        ({"blocks.1.norm2.bias": None}, "no blocks.1.norm2.bias in it"),
        ({f"blocks.{DEPTH + 1}.norm1.weight": (32,)}, f"no blocks.{DEPTH}.attn.qkv.weight in it"),
        ({"blocks.0.attn.qkv.weight": (64, 32)}, r"blocks.0.attn.qkv.weight is \[64, 32\], .* \[96, 32\] fits"),
        ({"blocks.0.mlp.fc2.weight": (32, 28)}, "a gated MLP"),
        ({"blocks.1.ls1.gamma": (32,)}, "blocks.1.ls1.gamma does not go with the other weights"),
        ({"blocks.0.ls1.gamma": (32,)}, "no blocks.0.ls2.gamma in it"),
        ({"head.bias": None}, "no head.bias in it"),
        ({"dist_token": (1, 1, 32)}, "dist_token, head and head_dist together"),
        ({"head_dist.weight": (5, 32), "head_dist.bias": (5,)}, "dist_token, head and head_dist together"),
        ({"pos_embed": (1, 16, 24)}, r"pos_embed is \[1, 16, 24\]"),
        ({"pos_embed": (1, 4242, 32)}, "pos_embed has 4242 entries, which make no square"),
    ],
)
def test_shapes_must_go_together(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    weights = vit().weights | {name: torch.ones(shape) for name, shape in change.items() if shape}
    refused(tmp_path, {name: t for name, t in weights.items() if change.get(name, ()) is not None}, words)


def test_heads_must_divide_the_width(tmp_path: Path) -> None:
    refused(tmp_path, vit().weights, "5 attention heads do not share a width of 32 evenly", heads=5)
    refused(tmp_path, vit().weights, "0 attention heads", heads=0)


def test_an_mlp_that_dinov2_cannot_have_is_refused(tmp_path: Path) -> None:
    weights = vit().weights
    scales = {f"blocks.{n}.ls{i}.gamma": torch.ones(32) for n in range(DEPTH) for i in (1, 2)}
    refused(tmp_path, weights | scales, "an MLP 56 wide")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    for name in ("blocks.1.attn.qkv.bias", "head.weight", "pos_embed"):
        weights = vit().weights
        weights[name].view(-1)[3] = value
        refused(tmp_path, weights, f"{name} holds NaN or infinite values")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 10**5, "cannot be read as JSON"),
        ("[]", "not a JSON object"),
        ('{"pretrained_cfg": 3}', "pretrained_cfg is not an object"),
        ('{"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 0, 1]}}', "do not normalise"),
        ('{"pretrained_cfg": {"mean": [0, 0, 0]}}', "do not normalise"),
        ('{"pretrained_cfg": {"mean": "x"}}', "mean is x, not a list of numbers"),
        ('{"pretrained_cfg": {"input_size": [3, 0, 16]}}', "not channels, height and width"),
        ('{"architecture": "vit_x", "model_args": {"num_heads": "4"}}', "not a number of heads"),
        ('{"architecture": "vit_x", "global_pool": "map"}', "reads 'map'"),
    ],
)
def test_a_config_json_that_makes_no_sense_is_refused(settings: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(settings)
    refused(tmp_path, vit().weights, words)
