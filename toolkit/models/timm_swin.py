"""Read a timm state dict of a Swin into a `transformers` encoder, weight by weight; timm itself is not needed.

Heads and window follow from the tables of relative positions. The image size follows from nothing: it is that of
config.json, or what `--image` says, or what models of that window are usually trained on, 32 windows wide.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jetson.errors import ModelError
from jetson.files import sha256_file
from toolkit.data.wording import one_line
from toolkit.models.backbone import new_encoder
from toolkit.models.config import BackboneConfig
from toolkit.models.pretrained import Pretrained, usual_normalisation
from toolkit.models.timm_config import NAME, TimmConfig, read_timm_config

MARK = "layers.0.blocks.0.attn.relative_position_bias_table"
"""A weight that every Swin has and no other model."""
IGNORED = re.compile(r"layers\.\d+\.blocks\.\d+\.(attn\.relative_position_index|attn_mask)")
"""Tables that follow from the window and the image; the first Swins were saved with them."""
BLOCK = {
    "norm1": ("layernorm_before",),
    "norm2": ("layernorm_after",),
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attn.proj": ("attention.o_proj",),
    "mlp.fc1": ("mlp.fc1",),
    "mlp.fc2": ("mlp.fc2",),
}
TABLE = ("attn.relative_position_bias_table", "attention.relative_position_bias.relative_position_bias_table")


def load_timm_swin(path: Path, tensors: dict[str, Tensor], image: tuple[int, int] | None) -> Pretrained:
    """Read a Swin; arguments and errors are those of `load_timm`, `tensors` what the file holds."""
    tensors = {name: tensor for name, tensor in tensors.items() if not IGNORED.fullmatch(name)}
    head = "head.fc" if "head.fc.weight" in tensors else "head"
    config = read_timm_config(path.parent)
    if config.pooling not in (None, "avg") and f"{head}.weight" in tensors:
        raise ModelError(f"{path}: its classifier reads {config.pooling!r} ({NAME}); a Swin's average is supported")
    settings, window = _measure(path, tensors)
    size = image or config.image or (32 * window, 32 * window)
    settings["image_size"] = size[0] if size[0] == size[1] else list(size)
    classifier = _classifier(path, tensors, head)
    found: dict[str, Tensor] = {}
    for theirs, ours in _names(path, tensors, settings["depths"]).items():
        if theirs not in tensors:
            raise ModelError(f"{path}: no {theirs} in it, which the other weights ask for")
        tensor = _plain(path, theirs, tensors.pop(theirs))
        parts = tensor.chunk(len(ours)) if len(ours) > 1 else (tensor,)
        found |= {name: part.clone() for name, part in zip(ours, parts, strict=True)}
    if tensors:
        raise ModelError(f"{path}: {one_line(next(iter(tensors)))} is no weight of a Swin as timm writes it")
    draft = BackboneConfig(family="swin", pooling="mean", transformers=settings, pretrained=sha256_file(path))
    encoder = new_encoder(draft)
    own = encoder.state_dict()
    for name, tensor in own.items():
        if name not in found or found[name].shape != tensor.shape:
            shape = list(found[name].shape) if name in found else "not there"
            raise ModelError(f"{path}: {name} is {shape}, and with the other weights {list(tensor.shape)} fits")
    encoder.load_state_dict(found)
    channels = settings["num_channels"]
    mean, std, source = usual_normalisation("swin", channels, f"no {NAME} of timm beside the file says it")
    if config.mean and config.std and len(config.mean) == channels:
        mean, std, source = config.mean, config.std, f"timm's {NAME}"
    return Pretrained(
        config=draft,
        encoder=encoder.eval(),
        heads=classifier,
        labels=config.labels if classifier and len(config.labels or ()) == classifier[0].out_features else None,
        mean=mean,
        std=std,
        normalisation=source,
        remarks=() if image else (_said(config, size, window),),
    )


def _said(config: TimmConfig, size: tuple[int, int], window: int) -> str:
    if config.image:
        return f"input {size[0]}x{size[1]}: as {NAME} says"
    return (
        f"input {size[0]}x{size[1]}: what Swins with windows of {window}x{window} are usually trained on; a state dict "
        "does not say, --image HxW does"
    )


def _measure(path: Path, tensors: dict[str, Tensor]) -> tuple[dict[str, Any], int]:
    """What the shapes say, for `SwinConfig`, and the edge of a window."""
    patches = tensors.get("patch_embed.proj.weight")
    if patches is None or patches.dim() != 4 or patches.shape[2] != patches.shape[3]:
        raise ModelError(f"{path}: no patch_embed.proj.weight of square patches in it")
    width, channels, edge, _ = patches.shape
    blocks = [re.match(r"layers\.(\d{1,3})\.blocks\.(\d{1,4})\.", name) for name in tensors]
    numbers = {(int(found[1]), int(found[2])) for found in blocks if found}
    stages = 1 + max(stage for stage, _ in numbers)
    depths = [1 + max((block for stage, block in numbers if stage == n), default=-1) for n in range(stages)]
    tables = [tensors.get(f"layers.{n}.blocks.0.{TABLE[0]}") for n in range(stages)]
    first = tables[0]
    hidden = tensors.get("layers.0.blocks.0.mlp.fc1.weight")
    if first is None or hidden is None or any(t is None or t.dim() != 2 or len(t) != len(first) for t in tables):
        raise ModelError(
            f"{path}: its stages have windows of different sizes, or lack weights; timm makes a window smaller where "
            "the image is small, which transformers does not"
        )
    window = (math.isqrt(len(first)) + 1) // 2
    if (2 * window - 1) ** 2 != len(first):
        raise ModelError(f"{path}: {MARK} has {len(first)} entries, which fit no square window")
    settings = {
        "num_channels": channels,
        "patch_size": edge,
        "embed_dim": width,
        "depths": depths,
        "num_heads": [int(t.shape[1]) for t in tables if t is not None],
        "window_size": window,
        "mlp_ratio": len(hidden) / width,
        "qkv_bias": "layers.0.blocks.0.attn.qkv.bias" in tensors,
        "drop_path_rate": 0.0,
    }
    return settings, window


def _names(path: Path, tensors: dict[str, Tensor], depths: list[int]) -> dict[str, tuple[str, ...]]:
    """By timm's name, the weights of the `transformers` encoder it becomes, one below the other."""
    parts: dict[str, tuple[str, ...]] = {
        "patch_embed.proj": ("embeddings.patch_embeddings.projection",),
        "patch_embed.norm": ("embeddings.norm",),
        "norm": ("layernorm",),
    }
    found: dict[str, tuple[str, ...]] = {}
    # Once a merging was written with the stage before it, now it is with the one behind.
    shift = 0 if "layers.0.downsample.reduction.weight" in tensors else 1
    for n, depth in enumerate(depths):
        for block in range(depth):
            theirs, ours = f"layers.{n}.blocks.{block}", f"encoder.layers.{n}.blocks.{block}"
            parts |= {f"{theirs}.{name}": tuple(f"{ours}.{part}" for part in own) for name, own in BLOCK.items()}
            found[f"{theirs}.{TABLE[0]}"] = (f"{ours}.{TABLE[1]}",)
        if n + 1 < len(depths):
            theirs, ours = f"layers.{n + shift}.downsample", f"encoder.layers.{n}.downsample"
            parts[f"{theirs}.norm"] = (f"{ours}.norm",)
            found[f"{theirs}.reduction.weight"] = (f"{ours}.reduction.weight",)
    qkv_bias = "layers.0.blocks.0.attn.qkv.bias" in tensors
    for name, own in parts.items():
        found[f"{name}.weight"] = tuple(f"{part}.weight" for part in own)
        if qkv_bias or not name.endswith("attn.qkv"):
            found[f"{name}.bias"] = tuple(f"{part}.bias" for part in own)
    return found


def _classifier(path: Path, tensors: dict[str, Tensor], name: str) -> tuple[nn.Linear, ...]:
    """The classifier, whose weights are taken out of `tensors`; none where there is none."""
    weight, bias = (tensors.pop(f"{name}.{kind}", None) for kind in ("weight", "bias"))
    if weight is None and bias is None:
        return ()
    if weight is None or bias is None or weight.dim() != 2 or bias.shape != weight.shape[:1]:
        raise ModelError(f"{path}: {name}.weight and {name}.bias do not go together")
    made: nn.Linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": _plain(path, f"{name}.weight", weight), "bias": _plain(path, f"{name}.bias", bias)})
    return (made,)


def _plain(path: Path, name: str, tensor: Tensor) -> Tensor:
    """The tensor in float32, with memory of its own."""
    tensor = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{path}: {name} holds NaN or infinite values")
    return tensor
