"""Read a timm state dict of a ViT into a `transformers` encoder, weight by weight; timm itself is not needed.

Everything but the number of attention heads can be read off the shapes. Every name must be known and every shape must
follow from the others: a weight that was left aside would give another model without a word.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from jetson.errors import ModelError
from jetson.files import sha256_file
from toolkit.models.backbone import new_encoder
from toolkit.models.config import BackboneConfig, Pooling
from toolkit.models.pretrained import Pretrained, resize_input, usual_normalisation, usual_pooling
from toolkit.models.timm_config import NAME, TimmConfig, read_timm_config
from toolkit.models.timm_layout import Layout, measure
from toolkit.models.timm_names import check_names, encoder_names
from toolkit.models.timm_swin import MARK, load_timm_swin
from toolkit.models.weights_file import read_tensors

EPSILON = 1e-6
"""Of every layer norm in timm's ViTs."""
HEAD_WIDTH = 64
"""Of timm's ViTs, from Tiny to Large."""
WIDE = {1280: 16, 1408: 16, 1664: 16}
"""Heads of timm's ViTs that are wider than Large, by their width."""


def load_timm(path: Path, image: tuple[int, int] | None = None, heads: int | None = None) -> Pretrained:
    """Read a timm state dict of a ViT, DeiT, DINOv2 (with registers or without) or Swin.

    A config.json of timm beside it counts.

    Args:
        path: a `.safetensors` file, or one of `torch.save`.
        image: height and width to run at; the model's own size when None.
        heads: of attention; from config.json or timm's convention when None.

    Raises:
        ModelError: the file is damaged, or holds a model that no supported encoder computes; names the first weight
            that is in the way.
        StorageError: it cannot be read.
    """
    tensors, remarks = read_tensors(path)
    if "register_tokens" in tensors:  # as DINOv2's authors publish it
        tensors["reg_token"] = tensors.pop("register_tokens")
    tensors.pop("mask_token", None)  # for its training only
    if MARK in tensors:
        if heads is not None:
            raise ModelError(f"--heads is for a ViT; the tables of {path} show its number")
        return load_timm_swin(path, tensors, image)
    if any(".cpb_mlp." in name for name in tensors):
        raise ModelError(f"{path}: a Swin v2 of timm; of those the directory that transformers writes is read")
    check_names(path, tensors)
    layout = measure(path, tensors)
    config = read_timm_config(path.parent)
    count, source = _heads(path, layout.width, heads, config)
    embedded, native = _image(path, layout, config.image, image)
    settings = {
        "hidden_size": layout.width,
        "num_attention_heads": count,
        "num_hidden_layers": layout.depth,
        "image_size": native[0] if native[0] == native[1] else list(native),
        "patch_size": layout.patch,
        "num_channels": layout.channels,
        "qkv_bias": layout.qkv_bias,
        "layer_norm_eps": EPSILON,
        **_family_settings(layout),
    }
    classifiers = _classifiers(path, tensors, layout)
    pooling, said = _pooling(path, layout, config, len(classifiers))
    draft = BackboneConfig(family=layout.family, pooling=pooling, transformers=settings, class_token=layout.class_token)
    with torch.device("meta"):  # its random weights would be thrown away
        encoder = new_encoder(draft)
    encoder.load_state_dict(_translate(path, tensors, layout, embedded), assign=True)
    resize_input(encoder, image or native, layout.family)
    mean, std, normalisation = _normalisation(layout, config)
    return Pretrained(
        config=msgspec.structs.replace(
            draft,
            transformers=settings | {"image_size": encoder.config.image_size},
            pretrained=sha256_file(path),
        ),
        encoder=encoder,
        heads=classifiers,
        labels=config.labels if config.labels and len(config.labels) == layout.outputs else None,
        mean=mean,
        std=std,
        normalisation=normalisation,
        remarks=(*remarks, f"{count} attention heads: {source}", *said),
    )


def _pooling(path: Path, layout: Layout, config: TimmConfig, classifiers: int) -> tuple[Pooling, tuple[str, ...]]:
    """What the final head reads, and what was taken to be so."""
    if classifiers and config.pooling not in (None, "token", "avg", ""):
        raise ModelError(
            f"{path}: its classifier reads {config.pooling!r} ({NAME}); the class token or an average is supported"
        )
    if config.pooling == "token" and (layout.averaged or not layout.class_token):
        raise ModelError(f"{path}: its classifier reads the class token ({NAME}), and the weights are without one")
    if layout.averaged:
        return "mean-first", ()
    if config.pooling == "avg" or not layout.class_token:
        return "mean", () if config.pooling else ("the head reads the average of the tokens: there is no class token",)
    # timm's classifier of a DINOv2 reads one token too.
    return "class" if classifiers == 1 else usual_pooling(layout.family, classifiers), ()


def _heads(path: Path, width: int, given: int | None, config: TimmConfig) -> tuple[int, str]:
    """Number of attention heads, which no tensor shows, and where it comes from."""
    if given is not None:
        count, source = given, "as --heads says"
    elif config.heads is not None:
        count, source = config.heads, f"as {NAME} says"
    elif width in WIDE:
        count, source = WIDE[width], f"as timm's ViTs of width {width} have; a state dict does not say, --heads N does"
    elif width % HEAD_WIDTH == 0 and width > HEAD_WIDTH:
        count = width // HEAD_WIDTH
        source = f"width {width} / {HEAD_WIDTH}, timm's convention; a state dict does not say, --heads N does"
    else:
        raise ModelError(f"{path}: width {width} does not tell the number of attention heads; give --heads N")
    if count < 1 or width % count:
        raise ModelError(f"{path}: {count} attention heads do not share a width of {width} evenly")
    return count, source


def _image(
    path: Path, layout: Layout, known: tuple[int, int] | None, asked: tuple[int, int] | None
) -> tuple[int, tuple[int, int]]:
    """How many prefix tokens have an entry in the position table, and the image it is for.

    Nothing in a state dict says either. timm's models with registers have positions of patches alone
    (`no_embed_class`), the DINOv2 of its authors has one of the class token too, and both may give the registers some;
    without registers the prefix tokens usually have theirs. The first of these that leaves a table for the image in
    config.json is taken, else the first that leaves a square, else the first that fits the image asked for.
    """
    choices = (0, 1, 1 + layout.registers) if layout.registers else tuple(dict.fromkeys((layout.prefix, 0)))

    def first(size: tuple[int, int] | None) -> tuple[int, tuple[int, int]] | None:
        for embedded in choices:
            patches = layout.positions - embedded
            side = math.isqrt(max(patches, 0)) * layout.patch
            height, width = size or (side, side)
            if patches > 0 and (height // layout.patch) * (width // layout.patch) == patches:
                return embedded, (height, width)
        return None

    if known and (found := first(known)):
        return found
    square, other = first(None), first(asked) if asked else None
    if square and other and square[0] != other[0]:
        raise ModelError(
            f"{path}: pos_embed has {layout.positions} entries, which fit a square image and the one asked for; name "
            f"the size it was trained on in a {NAME} beside it: " + '{"architecture": "vit", "input_size": [3, H, W]}'
        )
    if found := square or other:
        return found
    raise ModelError(
        f"{path}: pos_embed has {layout.positions} entries, which make no square; give the size of the images it was "
        "trained on, --image HxW"
    )


def _family_settings(layout: Layout) -> dict[str, int | bool]:
    if not layout.family.startswith("dinov2"):
        return {"intermediate_size": layout.hidden}
    ratio = {"mlp_ratio": layout.hidden // layout.width}
    return ratio | ({"num_register_tokens": layout.registers} if layout.registers else {"use_mask_token": False})


def _plain(path: Path, name: str, tensor: Tensor) -> Tensor:
    """The tensor in float32, with memory of its own."""
    tensor = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{path}: {name} holds NaN or infinite values")
    return tensor


def _translate(path: Path, tensors: dict[str, Tensor], layout: Layout, embedded: int) -> dict[str, Tensor]:
    """The encoder's state dict; `embedded` prefix tokens have an entry in the position table."""
    found: dict[str, Tensor] = {}
    for theirs, ours in encoder_names(layout.family, layout.depth).items():
        if theirs in tensors:
            parts = _plain(path, theirs, tensors[theirs]).chunk(len(ours))
            found |= {name: part.clone() if len(ours) > 1 else part for name, part in zip(ours, parts, strict=True)}
        elif theirs.endswith(".gamma"):  # registers without layer scale
            found |= {name: torch.ones(layout.width) for name in ours}
    table = _plain(path, "pos_embed", tensors["pos_embed"])
    if not layout.class_token:  # the encoder has one, which the adapter leaves out
        found["embeddings.cls_token"] = torch.zeros(1, 1, layout.width)
    if embedded == 0:
        table = torch.cat([torch.zeros(1, max(layout.prefix, 1), layout.width), table], dim=1)
    elif embedded > layout.prefix:  # the encoder gives registers no position: it goes into the registers themselves
        found["embeddings.register_tokens"] += table[:, 1:embedded]
        table = torch.cat([table[:, :1], table[:, embedded:]], dim=1)
    found["embeddings.position_embeddings"] = table
    if layout.registers:
        found["embeddings.mask_token"] = torch.zeros(1, layout.width)
    return found


def _classifiers(path: Path, tensors: dict[str, Tensor], layout: Layout) -> tuple[nn.Linear, ...]:
    def linear(name: str) -> nn.Linear:
        made: nn.Linear = nn.utils.skip_init(nn.Linear, layout.width, layout.outputs)
        made.load_state_dict({k: _plain(path, f"{name}.{k}", tensors[f"{name}.{k}"]) for k in ("weight", "bias")})
        return made

    names = ("head", "head_dist") if layout.distilled else ("head",)
    return tuple(map(linear, names)) if layout.outputs is not None else ()


def _normalisation(layout: Layout, config: TimmConfig) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    if config.mean and config.std and len(config.mean) == layout.channels:
        return config.mean, config.std, f"timm's {NAME}"
    return usual_normalisation(layout.family, layout.channels, f"no {NAME} of timm beside the file says it")
