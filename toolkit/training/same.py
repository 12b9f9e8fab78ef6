"""Whether what stands in the output folder is a run of the same settings."""

from __future__ import annotations

from pathlib import Path

from jetson.errors import BadInput, ModelError
from toolkit.models.checkpoint import CONFIG, read_config, read_training
from toolkit.models.config import ExitConfig, ModelConfig
from toolkit.models.record import Recipe


def finished(out: Path) -> tuple[ModelConfig, Recipe] | None:
    """What the finished checkpoint in `out` was trained from; None when there is none.

    Raises:
        ModelError: there is one that cannot be read, or that was not trained here.
    """
    if not (out / CONFIG).exists():
        return None
    try:
        return read_config(out)[0], read_training(out).recipe()
    except ModelError as error:
        raise ModelError(f"{error}; give --restart to replace it") from None


def demand_same(out: Path, found: tuple[ModelConfig, Recipe], wanted: tuple[ModelConfig, Recipe]) -> None:
    """Refuse to go on with, or to take for the answer, a run of other settings.

    Raises:
        BadInput: naming the first setting that differs.
    """
    if different := difference(found, wanted):
        raise BadInput(f"{out} holds a run with {different}; give --restart to replace it, or another --out")


def difference(found: tuple[ModelConfig, Recipe], wanted: tuple[ModelConfig, Recipe]) -> str | None:
    """The first setting that differs, in the words of the command line; None when all are the same."""
    (config, recipe), (new_config, new_recipe) = found, wanted
    # What decides the model comes first: other data is also another normalisation.
    first = ("data_spec", "seed", "data")
    for name in first:
        if words := _other_choice(name, recipe, new_recipe):
            return words
    if config != new_config:
        return _other_model(config, new_config)
    rest = (name for name in Recipe.__struct_fields__ if name not in first)
    return next(filter(None, (_other_choice(name, recipe, new_recipe) for name in rest)), None)


def _other_choice(name: str, recipe: Recipe, new_recipe: Recipe) -> str | None:
    old, new = getattr(recipe, name), getattr(new_recipe, name)
    if old == new:
        return None
    if name == "data":
        return "other images or targets behind the same --data"
    option = {"data_spec": "--data", "learning_rate": "--lr", "distillation": "--distill"}.get(name)
    return f"{option or '--' + name.replace('_', '-')} {_say(old)}, not {_say(new)}"


def _other_model(old: ModelConfig, new: ModelConfig) -> str:
    if old.backbone.pretrained != new.backbone.pretrained or old.backbone.family != new.backbone.family:
        return "another --backbone"
    a, b = old.backbone.transformers, new.backbone.transformers
    for key, option in (
        ("hidden_size", "--backbone"),
        ("num_hidden_layers", "--depth"),
        ("image_size", "--image-size"),
        ("patch_size", "--patch-size"),
    ):
        if a.get(key) != b.get(key):
            return f"another {option} ({key} {a.get(key)}, not {b.get(key)})"
    if old.exits != new.exits:
        return f"--exits {_exits(old.exits)}, not {_exits(new.exits)}"
    if old.preprocessing != new.preprocessing:
        return "another normalisation of the images"
    return "another model"


def _exits(exits: tuple[ExitConfig, ...]) -> str:
    def written(exit_: ExitConfig) -> str:
        options = {name: getattr(exit_, name) for name in ("hidden", "channels", "layers")}
        return exit_.name + "".join(f":{k}={v}" for k, v in options.items() if v is not None)

    return ",".join(map(written, exits))


def _say(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else str(value)
