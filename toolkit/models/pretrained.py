"""Load a backbone from a `transformers` checkpoint directory, unchanged but for its input size when asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from jetson.errors import ModelError, first_line
from jetson.files import sha256_file
from toolkit.models.backbone import HIERARCHICAL, MODEL_CLASSES, as_pair
from toolkit.models.config import BackboneConfig, Family, Pooling
from toolkit.models.head import fill_head as fill_head

if TYPE_CHECKING:
    from toolkit.models.multi_exit import MultiExitModel

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PREPROCESSOR = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Pretrained:
    """A model from elsewhere, as it was found."""

    config: BackboneConfig
    encoder: Any
    """The bare `transformers` model, e.g. a `ViTModel`; a `Chain`; None for a checkpoint of ours."""
    heads: tuple[nn.Linear, ...]
    """The checkpoint's own classifier(s); empty for a bare backbone."""
    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str
    """Where mean and std come from, in words."""
    remarks: tuple[str, ...] = ()
    """What else was taken to be so, and why."""
    checkpoint: MultiExitModel | None = None
    """The model of a checkpoint of ours, exits and all."""


def load_pretrained(folder: Path, image: tuple[int, int] | None = None) -> Pretrained:
    """Read a ViT, DeiT, DINOv2, Swin or Swin v2 checkpoint directory as `transformers` writes it.

    Args:
        folder: holds config.json and the weights.
        image: height and width to run at; the checkpoint's own size when None. Another size resizes the position
            table once, the way the family itself does.

    Raises:
        ModelError: no such checkpoint, another family, or weights that do not fill the model.
    """
    import transformers

    settings = _read_json(folder / "config.json", folder)
    family = settings.get("model_type")
    if family not in MODEL_CLASSES:
        known = ", ".join(MODEL_CLASSES)
        raise ModelError(f"{folder}: model type {family!r} is not supported; supported are {known}")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{folder}: no weights in it (looked for {', '.join(WEIGHTS)})")
    name = _class_name(settings, family)
    options: dict[str, Any] = {"local_files_only": True, "output_loading_info": True}
    if name == MODEL_CLASSES[family][1] and not family.startswith("dinov2"):
        options["add_pooling_layer"] = False
    if image is not None and family in HIERARCHICAL:
        if settings.get("use_absolute_embeddings"):
            raise ModelError(f"{folder}: it has a table of absolute positions, which is not resized; keep its size")
        options["image_size"] = list(image)
    try:
        with _quiet():
            model, info = getattr(transformers, name).from_pretrained(folder, **options)
    except Exception as error:  # transformers raises many kinds; the file is the user's
        raise ModelError(f"{folder}: transformers cannot load it: {first_line(error)}") from error
    missing = [k for k in info["missing_keys"] if "mask_token" not in k and "pooler" not in k]
    if missing or info.get("mismatched_keys"):
        what = missing[0] if missing else next(iter(info["mismatched_keys"]))
        raise ModelError(f"{folder}: its weights do not fill a {name} (first: {what})")
    encoder = model if name == MODEL_CLASSES[family][1] else getattr(model, model.base_model_prefix)
    encoder.float()
    if family not in HIERARCHICAL:
        resize_input(encoder, image or as_pair(encoder.config.image_size), family)
    heads = _heads(model)
    mean, std, source = _normalisation(folder, family, encoder.config.num_channels)
    config = BackboneConfig(
        family=family,
        pooling=usual_pooling(family, len(heads)),
        transformers=_plain(encoder.config.to_diff_dict()),
        pretrained=_digest(weights),
    )
    labels = tuple(str(encoder.config.id2label[i]) for i in range(heads[0].out_features)) if heads else None
    size, crop = as_pair(encoder.config.image_size), _crop(folder)
    remarks = []
    if image is None and crop is not None and crop != size:
        remarks.append(
            f"input {size[0]}x{size[1]}, as config.json says; {PREPROCESSOR} makes images {crop[0]}x{crop[1]}, and "
            f"--image {crop[0]}x{crop[1]} runs the model at that size"
        )
    return Pretrained(config, encoder, heads, labels, mean, std, source, tuple(remarks))


def resize_input(encoder: Any, image: tuple[int, int], family: Family) -> None:
    """Give the encoder a position table for `image` (height, width), by its family's own interpolation."""
    settings = encoder.config
    old, patch = as_pair(settings.image_size), as_pair(settings.patch_size)
    if image == old:
        return
    grid = (image[0] // patch[0], image[1] // patch[1])
    if min(grid) < 1:
        raise ModelError(f"an image of {image[0]}x{image[1]} is smaller than one patch of {patch[0]}x{patch[1]}")
    if old[0] // patch[0] != old[1] // patch[1]:
        raise ModelError(f"positions of a checkpoint for {old[0]}x{old[1]} images cannot be resized; keep its size")
    embeddings = encoder.embeddings
    prefix = 2 if family == "deit" else 1
    like = torch.zeros(1, prefix + grid[0] * grid[1], settings.hidden_size)
    with torch.no_grad():
        table = embeddings.interpolate_pos_encoding(like, image[0], image[1])
    embeddings.position_embeddings = nn.Parameter(table.clone())
    settings.image_size = image[0] if image[0] == image[1] else list(image)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and remarks of `transformers`; what matters in them is checked here."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _digest(weights: Path) -> str:
    """SHA-256 of the weights; of an index, over the files it names."""
    if weights.suffix != ".json":
        return sha256_file(weights)
    names = sorted(set(_read_json(weights, weights.parent).get("weight_map", {}).values()))
    return hashlib.sha256(" ".join(sha256_file(weights.parent / name) for name in names).encode()).hexdigest()


def _class_name(settings: dict[str, Any], family: Family) -> str:
    bare = MODEL_CLASSES[family][1]
    named = (settings.get("architectures") or [bare])[0]
    stem = bare.removesuffix("Model")
    known = {f"{stem}ForImageClassification", f"{stem}ForImageClassificationWithTeacher"}
    return named if named in known else bare


def _heads(model: nn.Module) -> tuple[nn.Linear, ...]:
    names = ("classifier",) if hasattr(model, "classifier") else ("cls_classifier", "distillation_classifier")
    return tuple(getattr(model, n) for n in names if isinstance(getattr(model, n, None), nn.Linear))


def usual_pooling(family: Family, heads: int) -> Pooling:
    """What the final head of a family reads, by its number of classifiers."""
    if family.startswith("dinov2"):
        return "class+mean"
    if family in HIERARCHICAL:
        return "mean"
    return "class+distillation" if heads == 2 else "class"


def _normalisation(folder: Path, family: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean and deviation for pixels between 0 and 1, whatever the file scales them by, and where they come from."""
    file = folder / PREPROCESSOR
    if not file.is_file():
        return usual_normalisation(family, channels, f"no {PREPROCESSOR}")
    settings = _read_json(file, folder)
    mean: Any
    std: Any
    if not settings.get("do_normalize", True):
        mean, std = [0.0] * channels, [1.0] * channels
    else:
        mean, std = settings.get("image_mean"), settings.get("image_std")
        if not isinstance(mean, list) or not isinstance(std, list) or not len(mean) == len(std) == channels:
            return usual_normalisation(family, channels, f"{PREPROCESSOR} has none for {channels} channels")
    factor = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    try:
        scale = 1.0 if math.isclose(255 * factor, 1.0, rel_tol=1e-6) else 255 * float(factor)
        found = tuple(float(v) / scale for v in mean), tuple(float(v) / scale for v in std)
        fine = all(map(math.isfinite, (*found[0], *found[1]))) and min(found[1]) > 0
    except (TypeError, ValueError, ZeroDivisionError):
        fine = False
    if not fine:
        raise ModelError(f"{file}: image_mean {mean}, image_std {std} and rescale_factor {factor} normalise no image")
    return *found, PREPROCESSOR + ("" if settings.get("do_normalize", True) else ", which normalises nothing")


def _crop(folder: Path) -> tuple[int, int] | None:
    """Height and width that preprocessor_config.json makes images, where it says so."""
    file = folder / PREPROCESSOR
    settings = _read_json(file, folder) if file.is_file() else {}
    for name in ("crop_size", "size"):
        size = settings.get(name)
        if isinstance(size, int) and size > 0:
            return size, size
        if isinstance(size, dict) and all(isinstance(size.get(edge), int) for edge in ("height", "width")):
            return size["height"], size["width"]
    return None


def usual_normalisation(family: str, channels: int, why: str) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean and deviation that a family is usually trained with, per channel, and a sentence that says so.

    Args:
        family: as `transformers` names it.
        channels: of the images.
        why: why it is taken.
    """
    mean, std = CENTRED if family == "vit" else IMAGENET
    if channels != len(mean):
        return (0.5,) * channels, (0.5,) * channels, f"0.5 for every channel ({why})"
    whose = "ImageNet's" if family == "python" else f"the usual one of {family}"
    return mean, std, f"{whose} ({why})"


def _read_json(file: Path, folder: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ModelError(f"{folder}: no {file.name} in it; a transformers checkpoint directory has one")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{file}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file}: not a JSON object")
    return content


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Only what shapes the encoder: no label names, no bookkeeping of `transformers`."""
    drop = {"id2label", "label2id", "architectures", "transformers_version", "torch_dtype", "dtype", "model_type"}
    drop |= {"_name_or_path", "stage_names", "out_features", "out_indices", "_out_features", "_out_indices"}
    return {k: v for k, v in settings.items() if k not in drop and not k.startswith("_")}
