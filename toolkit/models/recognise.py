"""One door for models from elsewhere: a `transformers` checkpoint directory, or a timm state dict."""

from __future__ import annotations

from pathlib import Path

import torch

from jetson.errors import ModelError
from toolkit.models.checkpoint import FORMAT
from toolkit.models.pretrained import Pretrained, load_pretrained
from toolkit.models.timm import load_timm
from toolkit.models.timm_config import NAME, is_timm, read_settings

TIMM_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""Where timm keeps the weights in a folder of its own, the preferred one first."""


def recognise(path: Path, image: tuple[int, int] | None = None, heads: int | None = None) -> Pretrained:
    """Read a model that was trained elsewhere.

    Args:
        path: a directory as `transformers` or timm writes it, or a file with a timm state dict.
        image: height and width to run at; the model's own size when None.
        heads: attention heads of a timm state dict, where convention or config.json are wrong.

    Raises:
        ModelError: nothing there, damaged, or a model that is not supported.
        StorageError: it cannot be read.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; Offramp downloads nothing")
    if not path.is_dir():
        return load_timm(path, image, heads)
    settings = read_settings(path / NAME) or {}
    if is_timm(settings):
        return load_timm(_timm_file(path), image, heads)
    if settings.get("format") == FORMAT:
        raise ModelError(f"{path}: a checkpoint of Offramp already; give it to `offramp build`")
    if heads is not None:
        raise ModelError(f"--heads is for a timm state dict; {path} says its own number")
    found = load_pretrained(path, image)
    for module in (found.encoder, *found.heads):
        for name, tensor in module.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise ModelError(f"{path}: {name} holds NaN or infinite values")
    return found


def _timm_file(folder: Path) -> Path:
    for name in TIMM_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder}: its {NAME} is timm's, and no weights beside it (looked for {', '.join(TIMM_FILES)})")
