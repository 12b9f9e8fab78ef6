"""Names of a timm ViT's weights: which are known, why others are refused, and what `transformers` calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from jetson.errors import ModelError
from toolkit.data.wording import one_line
from toolkit.models.config import Family

KNOWN = re.compile(
    r"(cls|dist|reg)_token|pos_embed|patch_embed\.proj\.(weight|bias)|(norm|fc_norm|head|head_dist)\.(weight|bias)|"
    r"blocks\.(0|[1-9]\d{0,3})\.((norm[12]|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)|ls[12]\.gamma)"
)
REASONS = (
    (r"attn_pool\.", "its classifier pools by attention; the class token or an average is supported"),
    (r"norm_pre\.", "it normalises tokens before the first layer, as CLIP does, which no supported encoder does"),
    (r"patch_embed\.(norm|backbone)", "its patches are not cut by one convolution alone"),
    (r"pre_logits\.", "it has a further layer before its classifier"),
    (r".*\bmlp\.(w12|w1|w2|w3|fc1_g|fc1_x|gate_proj)\.", "its MLP is gated (SwiGLU)"),
    (r".*\battn\.[qk]_norm\.", "its attention normalises queries and keys"),
    (r".*\brel(ative)?_pos|rope", "its attention knows relative positions"),
    (r".*\battn\.[qkv]_(bias|proj)", "its attention is that of BEiT or EVA"),
    (r".*\bgamma_[12]$", "its layer scale is that of BEiT"),
    (r".*\b(attn|mlp)\.norm\.", "it normalises inside attention or MLP"),
    (r".*\b(attns|ffns)\.", "its layers run side by side"),
    (r"blocks\.\d+\.\d+\.", "its layers lie in chunks; save the whole model's state dict instead"),
    (r"((vit|deit|dinov2|dinov2_with_registers)\.)?(embeddings|encoder|layers)\.", "the name is not timm's; name the "
     "directory of a transformers checkpoint, which holds config.json"),
    (r"(decoder|mask)_", "it belongs to masked pre-training; save the encoder alone"),
)  # fmt: skip
"""Patterns at the beginning of a name, and what a model with such a weight does; the first that fits counts."""
_LAYER: dict[bool, tuple[str, dict[str, str]]] = {
    False: ("layers", {"norm1": "layernorm_before", "norm2": "layernorm_after"}),
    True: ("encoder.layer", {"norm1": "norm1", "norm2": "norm2"}),
}
"""Of a DINOv2 or not: where the layers are, and the names of their norms."""


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse a state dict with a name that no supported model has.

    Raises:
        ModelError: the first such name, and why.
    """
    strange = next((name for name in names if not KNOWN.fullmatch(name)), None)
    if strange is None:
        return
    why = next((why for pattern, why in REASONS if re.match(pattern, strange)), None)
    why = why or "no timm ViT, DeiT or DINOv2 has such a weight"
    raise ModelError(f"{path}: {one_line(strange)} is not supported: {why}")


def encoder_names(family: Family, depth: int) -> dict[str, tuple[str, ...]]:
    """By timm's name, the weights of the `transformers` encoder it becomes, one below the other; not `pos_embed`."""
    dino = family.startswith("dinov2")
    where, norms = _LAYER[dino]
    found: dict[str, tuple[str, ...]] = {"cls_token": ("embeddings.cls_token",)}
    if family == "deit":
        found["dist_token"] = ("embeddings.distillation_token",)
    if family == "dinov2_with_registers":
        found["reg_token"] = ("embeddings.register_tokens",)
    parts: dict[str, tuple[str, ...]] = {
        "patch_embed.proj": ("embeddings.patch_embeddings.projection",),
        "norm": ("layernorm",),
        "fc_norm": ("layernorm",),
    }
    for n in range(depth):
        ours, theirs = f"{where}.{n}", f"blocks.{n}"
        parts |= {f"{theirs}.{name}": (f"{ours}.{norm}",) for name, norm in norms.items()}
        parts[f"{theirs}.attn.qkv"] = tuple(f"{ours}.attention.{part}_proj" for part in "qkv")
        parts[f"{theirs}.attn.proj"] = (f"{ours}.attention.o_proj",)
        parts |= {f"{theirs}.mlp.{name}": (f"{ours}.mlp.{name}",) for name in ("fc1", "fc2")}
        if dino:
            found |= {f"{theirs}.ls{i}.gamma": (f"{ours}.layer_scale{i}.lambda1",) for i in (1, 2)}
    for kind in ("weight", "bias"):
        found |= {f"{name}.{kind}": tuple(f"{part}.{kind}" for part in ours_) for name, ours_ in parts.items()}
    return found
