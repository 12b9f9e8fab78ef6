"""The dimensions of a timm ViT as its tensors show them, and every shape that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from jetson.errors import ModelError
from toolkit.data.wording import one_line
from toolkit.models.config import Family


@dataclass(frozen=True)
class Layout:
    """A model's dimensions, as its tensors show them."""

    width: int
    depth: int
    hidden: int
    """Width of the MLP."""
    channels: int
    patch: int
    """Edge in pixels."""
    registers: int
    positions: int
    """Entries of the position table."""
    class_token: bool
    averaged: bool
    """Its last norm is behind the average of the patch tokens (`fc_norm`)."""
    distilled: bool
    scaled: bool
    """Layer scale in every block, as DINOv2 and DeiT III have it."""
    qkv_bias: bool
    outputs: int | None
    """Of the classifier; None where there is none."""

    @property
    def prefix(self) -> int:
        """Prefix tokens that may have a position; registers do not count."""
        return 2 if self.distilled else int(self.class_token)

    @property
    def family(self) -> Family:
        """Which `transformers` encoder computes the same."""
        if self.distilled:
            return "deit"
        if self.registers:
            return "dinov2_with_registers"
        return "dinov2" if self.scaled else "vit"


def measure(path: Path, tensors: dict[str, Tensor]) -> Layout:
    """Read the dimensions off a state dict whose names are all known, and hold every shape against them.

    Args:
        path: of the file, for messages.
        tensors: by timm's names.

    Raises:
        ModelError: naming the first weight that is missing, of another shape, or does not go with the others.
    """

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in tensors:
            raise ModelError(f"{path}: no {name} in it")
        found = tuple(tensors[name].shape)
        if len(found) != dimensions:
            raise ModelError(f"{path}: {name} is {list(found)}, which is no shape of a ViT's")
        return found

    if "cls_token" in tensors:
        shape("cls_token", 3)
    width, channels, height, edge = shape("patch_embed.proj.weight", 4)
    if height != edge:
        raise ModelError(f"{path}: patch_embed.proj.weight has patches of {height}x{edge}; only square ones are known")
    depth = 1 + max((int(n.split(".")[1]) for n in tensors if n.startswith("blocks.")), default=-1)
    hidden, _ = shape("blocks.0.mlp.fc1.weight", 2)
    distilled = "dist_token" in tensors
    if ("head_dist.weight" in tensors) != (distilled and "head.weight" in tensors):
        raise ModelError(f"{path}: a distilled DeiT has dist_token, head and head_dist together, or neither head")
    without = next((n for n in ("dist_token", "reg_token") if n in tensors and "cls_token" not in tensors), None)
    if without:
        raise ModelError(f"{path}: {without} without cls_token; no supported model has that")
    if distilled and "fc_norm.weight" in tensors:
        raise ModelError(f"{path}: fc_norm beside dist_token; a distilled DeiT reads its two tokens")
    beside = next((name for name in ("reg_token", "blocks.0.ls1.gamma") if name in tensors), None)
    if distilled and beside:
        raise ModelError(f"{path}: {beside} beside dist_token; no supported model has both")
    layout = Layout(
        width=width,
        depth=depth,
        hidden=hidden,
        channels=channels,
        patch=edge,
        registers=shape("reg_token", 3)[1] if "reg_token" in tensors else 0,
        positions=shape("pos_embed", 3)[1],
        class_token="cls_token" in tensors,
        averaged="fc_norm.weight" in tensors,
        distilled=distilled,
        scaled="blocks.0.ls1.gamma" in tensors,
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        outputs=shape("head.weight", 2)[0] if "head.weight" in tensors else None,
    )
    _check_shapes(path, tensors, _shapes(layout))
    if layout.family.startswith("dinov2") and hidden % width:
        raise ModelError(
            f"{path}: blocks.0.mlp.fc1.weight makes an MLP {hidden} wide; with layer scale or registers it must be a "
            f"multiple of the width {width}"
        )
    return layout


def _shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """What the state dict of such a model holds."""
    d, hidden = layout.width, layout.hidden
    norm = "fc_norm" if layout.averaged else "norm"
    found: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, layout.positions, d),
        "patch_embed.proj.weight": (d, layout.channels, layout.patch, layout.patch),
        "patch_embed.proj.bias": (d,),
        f"{norm}.weight": (d,),
        f"{norm}.bias": (d,),
    }
    if layout.class_token:
        found["cls_token"] = (1, 1, d)
    if layout.registers:
        found["reg_token"] = (1, layout.registers, d)
    if layout.distilled:
        found["dist_token"] = (1, 1, d)
    for n in range(layout.depth):
        linear = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (hidden, d), "mlp.fc2": (d, hidden)}
        for name, (rows, columns) in linear.items():
            found[f"blocks.{n}.{name}.weight"] = (rows, columns)
            if name != "attn.qkv" or layout.qkv_bias:
                found[f"blocks.{n}.{name}.bias"] = (rows,)
        vectors = ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
        vectors += ["ls1.gamma", "ls2.gamma"] if layout.scaled else []
        found |= {f"blocks.{n}.{name}": (d,) for name in vectors}
    if layout.outputs is not None:
        for head in ("head", "head_dist") if layout.distilled else ("head",):
            found |= {f"{head}.weight": (layout.outputs, d), f"{head}.bias": (layout.outputs,)}
    return found


def _check_shapes(path: Path, tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if name not in tensors:
            raise ModelError(f"{path}: no {name} in it, which the other weights ask for")
        if (found := tuple(tensors[name].shape)) != shape:
            gated = "; a gated MLP (SwiGLU) is not supported" if name.endswith("mlp.fc2.weight") else ""
            raise ModelError(f"{path}: {name} is {list(found)}, and with the other weights {list(shape)} fits{gated}")
    if strange := next((name for name in tensors if name not in expected), None):
        raise ModelError(f"{path}: {one_line(strange)} does not go with the other weights, which are without it")
