"""Small `transformers` models written under timm's names, by a mapping of the tests' own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tests.toolkit.models.small import shaken

WIDTH, HEADS, DEPTH, OUTPUTS = 32, 4, 3, 5
RENAMED = (
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.distillation_token", "dist_token"),
    ("embeddings.register_tokens", "reg_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm", "norm"),
    ("attention.o_proj", "attn.proj"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
)


class Theirs(NamedTuple):
    """An encoder of `transformers`, its classifiers, and its weights under timm's names."""

    encoder: Any
    classifiers: tuple[nn.Linear, ...]
    weights: dict[str, Tensor]

    @torch.no_grad()
    def tokens(self, pixels: Tensor) -> Tensor:
        """The normalised tokens after the last layer."""
        found: Tensor = self.encoder(pixels).last_hidden_state
        return found

    @torch.no_grad()
    def logits(self, pixels: Tensor) -> Tensor:
        """As timm answers: each classifier reads the token of its own, and their answers are averaged."""
        tokens = self.tokens(pixels)
        return torch.stack([c(tokens[:, i]) for i, c in enumerate(self.classifiers)]).mean(dim=0)


def vit(name: str = "ViT", classifiers: int = 1, **settings: Any) -> Theirs:
    """A model with random weights.

    Args:
        name: of the class in `transformers`, without `Model`.
        classifiers: how many.
        settings: of its configuration, over small ones.
    """
    import transformers

    common = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": DEPTH, "layer_norm_eps": 1e-6}
    common |= {"image_size": 16, "patch_size": 4}
    common |= {"mlp_ratio": 2} if name.startswith("Dino") else {"intermediate_size": 56}
    config = getattr(transformers, f"{name}Config")(**common | settings)
    encoder = shaken(getattr(transformers, f"{name}Model")(config)).eval()
    heads = tuple(shaken(nn.Linear(config.hidden_size, OUTPUTS)) for _ in range(classifiers))
    return Theirs(encoder, heads, timm_weights(encoder, heads))


def timm_weights(encoder: nn.Module, classifiers: tuple[nn.Linear, ...]) -> dict[str, Tensor]:
    """The state dict as timm would write it, position table unchanged."""
    found: dict[str, Tensor] = {}
    apart: dict[str, dict[str, Tensor]] = {}
    for name, tensor in encoder.state_dict().items():
        if "mask_token" in name or "pooler" in name:
            continue
        name = re.sub(r"^(encoder\.layer|layers)\.", "blocks.", name)
        if match := re.fullmatch(r"(blocks\.\d+)\.attention\.([qkv])_proj\.(\w+)", name):
            apart.setdefault(f"{match[1]}.attn.qkv.{match[3]}", {})[match[2]] = tensor
            continue
        for ours, theirs in RENAMED:
            name = name.replace(ours, theirs)
        found[name] = tensor.clone()
    for name, parts in apart.items():
        found[name] = torch.cat([parts["q"], parts["k"], parts["v"]])
    for name, classifier in zip(("head", "head_dist"), classifiers, strict=False):
        found |= {f"{name}.{kind}": tensor.clone() for kind, tensor in classifier.state_dict().items()}
    return found


def without_class_position(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's `no_embed_class`: the class token's position is in the token, the table has the patches' alone."""
    table = weights["pos_embed"]
    return weights | {"cls_token": weights["cls_token"] + table[:, :1], "pos_embed": table[:, 1:].clone()}


def save(path: Path, weights: dict[str, Tensor], wrapper: str | None = None) -> Path:
    """Write a state dict in the format that the name asks for; gives the path."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    else:
        torch.save({wrapper: weights, "epoch": 3} if wrapper else weights, path)
    return path
