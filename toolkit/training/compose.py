"""From settings and data to a model and a recipe with every choice made; says what it recognised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from jetson.errors import DataError, ModelError
from jetson.manifest import Preprocessing
from toolkit.data import DataSet
from toolkit.models.backbone import SIZES, Backbone, sized_backbone
from toolkit.models.code import parse_code
from toolkit.models.config import BackboneConfig, ModelConfig, parse_exits
from toolkit.models.head import last_linears
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.pretrained import Pretrained, fill_head
from toolkit.models.recognise import recognise
from toolkit.models.record import Recipe
from toolkit.training.seeds import derived
from toolkit.training.settings import DEPTH, EXAMPLE, MOST_PATCHES, PATCH_SIZE, TrainSettings
from toolkit.training.standardise import spread, to_standard

STATISTICS_IMAGES = 2000
"""Mean and deviation of the pixels are taken from at most this many training images."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be trained."""

    data: DataSet
    """Its training part cut to the limit."""
    model: MultiExitModel
    recipe: Recipe
    new_head: bool
    """The final head starts from random weights."""
    notes: tuple[str, ...]
    """What was recognised, one line each."""

    @property
    def pretrained(self) -> bool:
        """Whether the backbone comes from a checkpoint."""
        return self.model.config.backbone.pretrained is not None


def compose(settings: TrainSettings, data: DataSet) -> Plan:
    """Make every choice the settings leave open, and build the model.

    Raises:
        ModelError: the backbone is unknown or does not fit the image size, or an exit does not fit the backbone.
        DataError: the images do not fit the backbone.
    """
    found = _pretrained(settings, data)
    backbone = found.config if found else _sized(settings, data)
    # The same seed gives the same weights, whatever random numbers the caller has used.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(settings.seed, "weights"))
        adapted = Backbone(backbone, data.outputs, found.encoder if found else None)
        own = found.checkpoint if found else None
        if own is not None and not settings.exits.strip():
            exits = own.config.exits
        else:
            exits = parse_exits(settings.exits, adapted.depth)
        mean, std, source = _normalisation(data, adapted.channels, found)
        height, width = adapted.image_size
        config = ModelConfig(
            task=data.task,
            classes=data.classes,
            outputs=data.outputs,
            preprocessing=Preprocessing(height=height, width=width, channels=adapted.channels, mean=mean, std=std),
            backbone=backbone,
            exits=exits,
        )
        model = MultiExitModel(config, adapted)
    kept = [] if own is None else _keep_weights(model, own, data)
    head = _keep_head(model, data, found) if found else None
    recipe = _recipe(settings, data, pretrained=found is not None)
    cut = _limited(data, recipe)
    notes = [_describe_data(cut, data), _describe_backbone(adapted, backbone, source), *kept]
    notes += [head] if head else []
    notes += found.remarks if found else ()
    return Plan(cut, model, recipe, found is None or not _fits(found, data), tuple(notes))


def _pretrained(settings: TrainSettings, data: DataSet) -> Pretrained | None:
    if settings.backbone in SIZES:
        if settings.weights is not None:
            raise ModelError("--weights is for a model from Python code, --backbone FILE.py:FUNCTION")
        if settings.heads is not None:
            raise ModelError(f"--heads is for a timm state dict; the sizes {', '.join(SIZES)} have their own")
        return None
    path = settings.backbone
    if parse_code(path) is None and not Path(path).expanduser().exists():
        raise ModelError(
            f"--backbone {path}: neither a size ({', '.join(SIZES)}) nor a folder or file with a model, nor "
            "FILE.py:FUNCTION"
        )
    for option, value in (("--patch-size", settings.patch_size), ("--depth", settings.depth)):
        if value is not None:
            raise ModelError(f"{option} is for the sizes {', '.join(SIZES)}; a checkpoint has its own")
    found = recognise(path, settings.image_size, settings.heads, settings.weights)
    if found.checkpoint is None and not settings.exits.strip():
        raise ModelError(f"no early exits given; write them as LAYER:BRANCH, e.g. {EXAMPLE}")
    channels = len(found.mean)
    if data.channels not in (1, channels):
        raise DataError(f"the images have {data.channels} channels, the backbone in {path} takes {channels}")
    return found


def _sized(settings: TrainSettings, data: DataSet) -> BackboneConfig:
    image = settings.image_size or data.size
    patch = settings.patch_size or PATCH_SIZE
    patches = (image[0] // patch) * (image[1] // patch)
    if patches > MOST_PATCHES and None in (settings.image_size, settings.patch_size):
        raise ModelError(
            f"images of {image[0]}x{image[1]} make {patches:,} patches of {patch}x{patch}; give --image-size and "
            "--patch-size, e.g. --image-size 224 --patch-size 16"
        )
    return sized_backbone(settings.backbone, image, patch, data.channels, settings.depth or DEPTH)


def _normalisation(
    data: DataSet, channels: int, found: Pretrained | None
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    if found:
        return found.mean, found.std, found.normalisation
    chosen = np.linspace(0, len(data.train) - 1, min(len(data.train), STATISTICS_IMAGES)).astype(int)
    sums = np.zeros((2, channels))
    for index in chosen:
        pixels = data.train.images[int(index)].reshape(-1, data.channels) / 255.0
        sums += pixels.mean(axis=0), np.square(pixels).mean(axis=0)
    mean, square = sums / len(chosen)
    # A channel that never changes keeps its scale.
    std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), 1 / 255)
    return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist()), "the training images"


def _fits(found: Pretrained, data: DataSet) -> bool:
    return bool(found.heads) and found.heads[0].out_features == data.outputs


def _keep_weights(model: MultiExitModel, own: MultiExitModel, data: DataSet) -> list[str]:
    """Give the model the weights of a checkpoint's backbone, and of the exits that both have; says which."""
    fresh = {id(t) for part in last_linears(model.backbone.head) for t in part.state_dict(keep_vars=True).values()}
    theirs = own.backbone.state_dict()
    with torch.no_grad():
        for name, tensor in model.backbone.state_dict(keep_vars=True).items():
            if id(tensor) not in fresh:  # the classifier is `_keep_head`'s
                tensor.copy_(theirs[name])
    if data.outputs != own.config.outputs:
        return [f"exits: all new, {data.outputs} outputs (the checkpoint's have {own.config.outputs})"]
    kept = []
    for index, exit_ in enumerate(model.config.exits):
        if exit_ in own.config.exits and exit_.name not in own.config.untrained:
            model.branches[index].load_state_dict(own.branches[own.config.exits.index(exit_)].state_dict())
            kept.append(exit_.name)
            if data.task == "regression":
                assert data.train.targets is not None
                to_standard(model.branches[index], *spread(data.train.targets))
    return [f"exits: {', '.join(kept)} go on from the checkpoint's weights"] if kept else []


def _keep_head(model: MultiExitModel, data: DataSet, found: Pretrained) -> str:
    """Give the model the checkpoint's classifier if it fits; says in words what became of it."""
    if not found.heads:
        return f"head: new, {data.outputs} outputs (the checkpoint has none)"
    if not _fits(found, data):
        return f"head: new, {data.outputs} outputs (the checkpoint's has {found.heads[0].out_features})"
    order, words = list(range(data.outputs)), "the checkpoint's own, kept"
    if data.classes and found.labels and found.labels != data.classes:
        if set(found.labels) == set(data.classes):
            order = [found.labels.index(name) for name in data.classes]
            words += ", its classes put in the order of the data"
        else:
            words += (
                f"; its classes ({_some(found.labels)}) are taken to be the data's ({_some(data.classes)}) in order"
            )
    head = model.backbone.head
    fill_head(head, found.heads, order)
    if data.task == "regression":
        assert data.train.targets is not None
        to_standard(head, *spread(data.train.targets))
    return f"head: {words}"


def _recipe(settings: TrainSettings, data: DataSet, pretrained: bool) -> Recipe:
    limit = None if settings.limit is None or settings.limit >= len(data.train) else settings.limit
    return Recipe(
        strategy=settings.strategy or ("classifier-wise" if pretrained else "end-to-end"),
        seed=settings.seed,
        data_spec=settings.data,
        data=data.record(),
        limit=limit,
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, limit or len(data.train)),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        distillation=settings.distillation,
        label_smoothing=settings.label_smoothing if data.task == "classification" else 0.0,
        augment=data.task == "classification" if settings.augment is None else settings.augment,
    )


def _limited(data: DataSet, recipe: Recipe) -> DataSet:
    if recipe.limit is None:
        return data
    # Drawn, not the first ones: a folder's images may be sorted by class.
    drawn = np.random.default_rng(recipe.seed).permutation(len(data.train))[: recipe.limit]
    return replace(data, train=data.train.pick(np.sort(drawn)))


def _describe_data(cut: DataSet, data: DataSet) -> str:
    height, width = data.size
    kind = f"{data.outputs} classes" if data.task == "classification" else f"regression, {data.outputs} values"
    used = f"{len(cut.train):,}" + (f" of {len(data.train):,}" if len(cut.train) < len(data.train) else "")
    return (
        f"data: {data.name}, {kind}, images {height}x{width}x{data.channels}, {used} train, "
        f"{len(data.calibration):,} calibration, {len(data.test):,} test"
    )


def _describe_backbone(backbone: Backbone, config: BackboneConfig, normalisation: str) -> str:
    tokens, (height, width) = backbone.tokens, backbone.image_size
    origin = "random weights" if config.pretrained is None else f"pretrained {config.pretrained[:12]}"
    prefix = f"{tokens.prefix or 'no'} prefix token" + ("" if tokens.prefix == 1 else "s")
    first = backbone.shapes[0]
    if len(set(backbone.shapes)) == 1:
        layers = f"{backbone.depth} layers of width {tokens.width}, {prefix}"
        grid = f"in {tokens.grid[0]}x{tokens.grid[1]} patches"
    else:
        layers = f"{backbone.depth} layers of width {first.width} to {tokens.width}, {prefix}"
        grid = f"in a grid of {first.grid[0]}x{first.grid[1]} to {tokens.grid[0]}x{tokens.grid[1]}"
    return (
        f"backbone: {config.family}, {origin}, {layers}, image {height}x{width}x{backbone.channels} {grid}, "
        f"normalised by {normalisation}"
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
