"""One door for models from elsewhere: a `transformers` directory, a timm state dict, Python code, or our own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from jetson.errors import ModelError
from jetson.files import sha256_file
from toolkit.models.chain import Chain
from toolkit.models.checkpoint import FORMAT, load_checkpoint
from toolkit.models.code import parse_code, read_code, remember, run
from toolkit.models.config import BackboneConfig, Pooling
from toolkit.models.head import last_linears
from toolkit.models.pretrained import Pretrained, load_pretrained, usual_normalisation
from toolkit.models.shape import as_pair
from toolkit.models.timm import load_timm
from toolkit.models.timm_config import NAME, is_timm, read_settings

TIMM_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""Where timm keeps the weights in a folder of its own, the preferred one first."""


def recognise(
    model: str | Path, image: tuple[int, int] | None = None, heads: int | None = None, weights: Path | None = None
) -> Pretrained:
    """Read a model that was trained elsewhere.

    Args:
        model: a directory as `transformers` or timm writes it, a file with a timm state dict, `FILE.py:FUNCTION`, or
            a checkpoint of ours.
        image: height and width to run at; the model's own size when None.
        heads: attention heads of a timm state dict, where convention or config.json are wrong.
        weights: that a Python function is to load.

    Raises:
        ModelError: nothing there, damaged, or a model that is not supported.
        StorageError: it cannot be read.
    """
    code = parse_code(str(model))
    if heads is not None and code is not None:
        raise ModelError(f"--heads is for a timm state dict; {model} says its own number")
    if weights is not None and code is None:
        raise ModelError(f"--weights is for a model from Python code, FILE.py:FUNCTION; {model} has its own")
    found = _of_code(*code, image, weights) if code else _of_path(Path(model).expanduser(), image, heads)
    for name, tensor in _tensors(found).items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{model}: {name} holds NaN or infinite values")
    return found


def _of_path(path: Path, image: tuple[int, int] | None, heads: int | None) -> Pretrained:
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; Offramp downloads nothing")
    if not path.is_dir():
        return load_timm(path, image, heads)
    settings = read_settings(path / NAME) or {}
    if is_timm(settings):
        return load_timm(_timm_file(path), image, heads)
    if heads is not None:
        raise ModelError(f"--heads is for a timm state dict; {path} says its own number")
    return _of_checkpoint(path, image) if settings.get("format") == FORMAT else load_pretrained(path, image)


def _of_code(file: Path, function: str, image: tuple[int, int] | None, weights: Path | None) -> Pretrained:
    content, code = read_code(file, function)
    if weights is not None and not weights.is_file():
        raise ModelError(f"--weights {weights}: no such file")
    chain = run(content, code, weights)
    remember(content, code)
    height, width = image or as_pair(chain.image)
    mean, std, source = usual_normalisation("python", chain.channels, f"{code.file} gives none")
    if chain.mean is not None and chain.std is not None:
        mean, std, source = tuple(map(float, chain.mean)), tuple(map(float, chain.std)), code.file
    pooling: Pooling = "own" if chain.head is not None else "class" if chain.prefix else "mean"
    return Pretrained(
        config=BackboneConfig(
            family="python",
            pooling=pooling,
            transformers={"image_size": [height, width]},
            pretrained=_digest(chain, weights),
            code=code,
        ),
        encoder=chain,
        heads=tuple(last_linears(chain.head)) if chain.head is not None else (),
        labels=tuple(map(str, chain.classes)) if chain.classes is not None else None,
        mean=mean,
        std=std,
        normalisation=source,
    )


def _digest(chain: Chain, weights: Path | None) -> str:
    """Of the file of weights, else of the weights that the function gave."""
    if weights is not None:
        return sha256_file(weights)
    digest = hashlib.sha256()
    for name, tensor in _state(chain).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _of_checkpoint(folder: Path, image: tuple[int, int] | None) -> Pretrained:
    """A checkpoint of ours, whose exits and weights a training goes on from."""
    checkpoint = load_checkpoint(folder)
    model = checkpoint.model
    config, made = model.config, model.config.preprocessing
    if image not in (None, (made.height, made.width)):
        raise ModelError(f"{folder}: a checkpoint for {made.height}x{made.width} images; import its model anew")
    own_head = model.exits[-1].name not in config.untrained
    return Pretrained(
        config=msgspec.structs.replace(config.backbone, pretrained=checkpoint.digest),
        encoder=None,
        heads=tuple(last_linears(model.backbone.head)) if own_head else (),
        labels=config.classes,
        mean=made.mean,
        std=made.std,
        normalisation="the checkpoint",
        checkpoint=model,
    )


def _tensors(found: Pretrained) -> dict[str, Tensor]:
    tensors = {} if found.encoder is None else _state(found.encoder)
    for head in found.heads:
        tensors |= {f"classifier.{name}": tensor for name, tensor in head.state_dict().items()}
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


def _state(encoder: nn.Module | Chain) -> dict[str, Tensor]:
    if not isinstance(encoder, Chain):
        return encoder.state_dict()
    parts = {"stem": encoder.stem, **{f"layers.{n}": layer for n, layer in enumerate(encoder.layers)}}
    parts |= {"head": encoder.head} if encoder.head is not None else {}
    return {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}


def _timm_file(folder: Path) -> Path:
    for name in TIMM_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder}: its {NAME} is timm's, and no weights beside it (looked for {', '.join(TIMM_FILES)})")
