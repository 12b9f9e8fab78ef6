"""The config.json that timm writes beside a state dict: what the weights themselves do not say."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetson.errors import ModelError
from jetson.files import storage
from jetson.preprocessing import MAX_EDGE
from toolkit.data.wording import one_line

NAME = "config.json"


@dataclass(frozen=True)
class TimmConfig:
    """What was found; None stands for what the file does not say."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image: tuple[int, int] | None = None
    """Height and width in pixels."""
    heads: int | None = None
    """Of attention, in every layer."""
    pooling: str | None = None
    """What the classifier reads: `token`, `avg`, ..."""
    labels: tuple[str, ...] | None = None
    """Names of the classifier's outputs, in order."""


def read_timm_config(folder: Path) -> TimmConfig:
    """Read the config.json in `folder`; one that is not timm's, or none, says nothing.

    Raises:
        ModelError: it is damaged, or a value in it is none that timm writes.
        StorageError: it cannot be read.
    """
    file = folder / NAME
    content = read_settings(file)
    if content is None or not is_timm(content):
        return TimmConfig()
    # Before timm 0.8 the settings of the weights lay at the top.
    own = content.get("pretrained_cfg", content)
    if not isinstance(own, dict):
        raise ModelError(f"{file}: pretrained_cfg is not an object")
    mean, std = _numbers(file, own, "mean"), _numbers(file, own, "std")
    if (mean is None) != (std is None) or (mean and std and (len(mean) != len(std) or min(std) <= 0)):
        raise ModelError(f"{file}: mean {own.get('mean')} and std {own.get('std')} do not normalise an image")
    arguments = content.get("model_args") if isinstance(content.get("model_args"), dict) else {}
    heads = arguments.get("num_heads") if arguments else None
    if heads is not None and not _whole(heads, 1024):
        raise ModelError(f"{file}: model_args.num_heads is {one_line(heads)}, not a number of heads")
    pooling = content.get("global_pool")
    return TimmConfig(
        mean=mean,
        std=std,
        image=_image(file, own),
        heads=heads,
        pooling=pooling if isinstance(pooling, str) and pooling else None,
        labels=_labels(content.get("label_names", own.get("label_names"))),
    )


def read_settings(file: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file.

    Raises:
        ModelError: it is there and is not a JSON object.
        StorageError: it cannot be read.
    """
    if not file.is_file():
        return None
    with storage(file, "read"):
        text = file.read_bytes()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({one_line(error)})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file}: not a JSON object")
    return content


def is_timm(settings: dict[str, Any]) -> bool:
    """Whether a config.json is timm's: it names an architecture in one word, `transformers` its own `model_type`."""
    return "model_type" not in settings and ("pretrained_cfg" in settings or "architecture" in settings)


def _numbers(file: Path, settings: dict[str, Any], name: str) -> tuple[float, ...] | None:
    found = settings.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not found or not all(_finite(v) for v in found):
        raise ModelError(f"{file}: {name} is {one_line(found)}, not a list of numbers")
    return tuple(map(float, found))


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _image(file: Path, settings: dict[str, Any]) -> tuple[int, int] | None:
    found = settings.get("input_size")
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 3 or not all(_whole(v, MAX_EDGE) for v in found):
        raise ModelError(f"{file}: input_size is {one_line(found)}, not channels, height and width")
    return found[1], found[2]


def _labels(found: Any) -> tuple[str, ...] | None:
    """Names in order, from a list or from an object of numbered names without gaps; None for anything else."""
    if isinstance(found, dict):
        if set(found) != {str(i) for i in range(len(found))}:
            return None
        found = [found[str(i)] for i in range(len(found))]
    if not isinstance(found, list) or not found or not all(isinstance(name, str) and name for name in found):
        return None
    return tuple(found)
