"""A Swin of `transformers` gives the same logits here, stage by stage, and every branch fits every stage."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jetson.errors import ModelError
from tests.toolkit.models.small import shaken
from tests.toolkit.models.timm_files import save
from toolkit.models.backbone import Backbone
from toolkit.models.branches import OnAverages, make_branch
from toolkit.models.config import ARCHITECTURES, ExitConfig
from toolkit.models.head import fill_head
from toolkit.models.pretrained import Pretrained, load_pretrained
from toolkit.models.shape import TokenShape
from toolkit.models.timm import load_timm

STAGES: dict[str, Any] = {
    "embed_dim": 8,
    "depths": [2, 1, 2],
    "num_heads": [2, 4, 2],
    "window_size": 3,
    "mlp_ratio": 2.0,
    "patch_size": 4,
}


def swin(name: str = "Swin", **settings: Any) -> Any:
    """A classifier with random weights, of five classes."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**STAGES | {"image_size": 60, "num_labels": 5} | settings)
    return shaken(getattr(transformers, f"{name}ForImageClassification")(config)).eval()


def saved(model: Any, folder: Path) -> Path:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


def adapted(found: Pretrained) -> Backbone:
    backbone = Backbone(found.config, 5, found.encoder).eval()
    if found.heads:
        fill_head(backbone.head, found.heads)
    return backbone


@torch.no_grad()
def logits(backbone: Backbone, pixels: Tensor) -> Tensor:
    tokens = backbone.stem(pixels)
    for layer, shape in zip(backbone.layers, backbone.shapes, strict=True):
        tokens = layer(tokens)
        assert tokens.shape[1:] == shape.size
    return backbone.head(tokens)


@pytest.mark.parametrize("name", ["Swin", "Swinv2"])
@pytest.mark.parametrize("image", [(60, 60), (58, 77)], ids=["padded to windows", "padded to patches too"])
def test_logits_are_those_of_transformers(name: str, image: tuple[int, int], tmp_path: Path) -> None:
    theirs = swin(name)
    found = load_pretrained(saved(theirs, tmp_path), None if image == (60, 60) else image)
    backbone = adapted(found)
    rows, columns = (-(-edge // 4) for edge in image)
    halves = ((rows + 1) // 2, (columns + 1) // 2)
    quarters = ((halves[0] + 1) // 2, (halves[1] + 1) // 2)
    assert [s.grid for s in backbone.shapes] == [(rows, columns)] * 2 + [halves] + [quarters] * 2
    assert [(s.width, s.heads) for s in backbone.shapes] == [(8, 2)] * 2 + [(16, 4)] + [(32, 2)] * 2
    pixels = torch.randn(2, 3, *image)
    if name == "Swinv2" and image != (60, 60):  # which fixes its windows when it is built
        theirs = type(theirs).from_pretrained(tmp_path, image_size=list(image)).eval()
    with torch.no_grad():
        expected = theirs(pixels).logits
    torch.testing.assert_close(logits(backbone, pixels), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.05, "the comparison would pass for logits that are all alike"


def test_what_it_is_and_what_it_needs(tmp_path: Path) -> None:
    found = load_pretrained(saved(swin(), tmp_path))
    assert (found.config.family, found.config.pooling, len(found.heads)) == ("swin", "mean", 1)
    with pytest.raises(ModelError, match="stage 3 has 2x2 patches, fewer than a window of 3x3"):
        adapted(load_pretrained(tmp_path, (30, 30)))
    saved(swin(use_absolute_embeddings=True), tmp_path)
    assert adapted(load_pretrained(tmp_path)).depth == 5
    with pytest.raises(ModelError, match="absolute positions"):
        load_pretrained(tmp_path, (64, 64))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("grid", [(15, 29), (14, 3), (1, 1)])
@pytest.mark.parametrize("is_map", [False, True])
def test_every_branch_fits_every_stage(name: str, grid: tuple[int, int], is_map: bool) -> None:
    shape = TokenShape(width=8, heads=2, prefix=0, grid=grid, map=is_map, most=14)
    branch = shaken(make_branch(ExitConfig(layer=1, architecture=name), shape, 5)).eval()
    inputs = torch.randn(2, *shape.size)
    assert branch(inputs).shape == (2, 5)
    assert torch.isfinite(branch(inputs)).all()
    averages = [m for m in branch.modules() if isinstance(m, OnAverages)]
    assert len(averages) == (name in ("vit", "mlp-mixer", "resmlp") and max(grid) > 14)
    # A map's pixels are tokens, row by row.
    if is_map:
        tokens = TokenShape(width=8, heads=2, prefix=0, grid=grid, most=14)
        other = make_branch(ExitConfig(layer=1, architecture=name), tokens, 5).eval()
        other.load_state_dict(branch.branch.state_dict())
        torch.testing.assert_close(other(inputs.flatten(2).transpose(1, 2)), branch(inputs))


def test_averages_are_of_neighbours_and_leave_nothing_out() -> None:
    shape = TokenShape(width=2, heads=1, prefix=0, grid=(15, 29), most=14)
    seen: list[Tensor] = []

    class Look(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            seen.append(tokens)
            return tokens

    assert shape.steps == (2, 3) and shape.averaged().grid == (8, 10)
    tokens = torch.randn(1, shape.count, 2)
    OnAverages(Look(), shape)(tokens)
    assert seen[0].shape == (1, 80, 2)
    image, found = tokens[0, :, 0].reshape(15, 29), seen[0][0, :, 0].reshape(8, 10)
    # One row is missing and goes above the first; one column is missing and goes before the first.
    torch.testing.assert_close(found[0, 0], image[0, :2].mean())
    torch.testing.assert_close(found[3, 4], image[5:7, 11:14].mean())
    torch.testing.assert_close(found[7, 9], image[13:15, 26:29].mean())


def test_without_a_class_token_the_mean_is_read() -> None:
    shape = TokenShape(width=8, heads=2, prefix=0, grid=(2, 3))
    branch = shaken(make_branch(ExitConfig(layer=1, architecture="mlp"), shape, 5)).eval()
    tokens = torch.randn(2, 6, 8)
    with_class = TokenShape(width=8, heads=2, prefix=1, grid=(2, 3))
    other = make_branch(ExitConfig(layer=1, architecture="mlp"), with_class, 5).eval()
    other.load_state_dict(branch.state_dict())
    mean = tokens.mean(dim=1, keepdim=True)
    torch.testing.assert_close(branch(tokens), other(torch.cat([mean, tokens], dim=1)))


def as_timm(model: Any, merged_before: bool = True) -> dict[str, Tensor]:
    """The state dict as timm would write it: a merging before its stage (now) or behind the one before (once)."""
    found: dict[str, Tensor] = {}
    apart: dict[str, dict[str, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        name = name.removeprefix("swin.").removeprefix("encoder.")
        for ours, theirs in (
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.norm", "patch_embed.norm"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("layernorm", "norm"),
            ("attention.relative_position_bias.relative", "attn.relative"),
            ("attention.o_proj", "attn.proj"),
            ("classifier", "head.fc"),
        ):
            name = name.replace(ours, theirs)
        if match := re.fullmatch(r"(.*)\.attention\.([qkv])_proj\.(\w+)", name):
            apart.setdefault(f"{match[1]}.attn.qkv.{match[3]}", {})[match[2]] = tensor
            continue
        if merged_before and (match := re.fullmatch(r"layers\.(\d)\.downsample\.(.*)", name)):
            name = f"layers.{int(match[1]) + 1}.downsample.{match[2]}"
        found[name] = tensor.clone()
    return found | {name: torch.cat([parts[k] for k in "qkv"]) for name, parts in apart.items()}


@pytest.mark.parametrize("merged_before", [True, False])
@pytest.mark.parametrize("settings", [{}, {"qkv_bias": False}])
def test_a_timm_state_dict_is_the_same_model(merged_before: bool, settings: dict[str, Any], tmp_path: Path) -> None:
    theirs = swin(layer_norm_eps=1e-5, **settings)
    weights = as_timm(theirs, merged_before)
    if not merged_before:  # as the first ones were saved
        weights |= {"layers.0.blocks.1.attn_mask": torch.zeros(25, 9, 9)}
        weights |= {name.replace("head.fc", "head"): t for name, t in weights.items() if name.startswith("head")}
        weights = {name: t for name, t in weights.items() if not name.startswith("head.fc")}
    found = load_timm(save(tmp_path / "swin.pth", weights), (60, 60))
    assert found.config.transformers["num_heads"] == [2, 4, 2] and found.config.transformers["window_size"] == 3
    pixels = torch.randn(2, 3, 60, 60)
    with torch.no_grad():
        torch.testing.assert_close(logits(adapted(found), pixels), theirs(pixels).logits, atol=1e-5, rtol=0)
    assert "--image HxW does" in load_timm(tmp_path / "swin.pth").remarks[0]
    with pytest.raises(ModelError, match="--heads is for a ViT"):
        load_timm(tmp_path / "swin.pth", heads=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("norm.weight"), "no norm.weight in it"),
        (lambda w: w.pop("layers.1.blocks.0.attn.relative_position_bias_table"), "windows of different sizes"),
        (lambda w: w.update({"head.fc.bias": torch.zeros(3)}), "do not go together"),
        (lambda w: w.update({"layers.0.blocks.0.attn.q_norm.weight": torch.zeros(3)}), "q_norm.weight is no weight of"),
        (lambda w: w.update({"layers.0.blocks.0.mlp.fc2.bias": torch.zeros(3)}), "mlp.fc2.bias is .3., and with"),
        (lambda w: w.update({"norm.bias": torch.full((32,), torch.nan)}), "norm.bias holds NaN"),
    ],
)
def test_a_swin_that_is_not_whole_is_one_line(
    change: Callable[[dict[str, Tensor]], Any], words: str, tmp_path: Path
) -> None:
    weights = as_timm(swin())
    change(weights)
    with pytest.raises(ModelError, match=words):
        load_timm(save(tmp_path / "swin.pth", weights), (60, 60))


def test_a_swin_v2_of_timm_is_named(tmp_path: Path) -> None:
    weights = {"patch_embed.norm.weight": torch.ones(8), "layers.0.blocks.0.attn.cpb_mlp.0.weight": torch.ones(2, 2)}
    with pytest.raises(ModelError, match="Swin v2 of timm"):
        load_timm(save(tmp_path / "swin.pth", weights))
