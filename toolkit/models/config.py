"""How a multi-exit model is written down: exits as `LAYER:BRANCH`, and the records of a checkpoint's config.json."""

from __future__ import annotations

from typing import Any, Literal

from jetson.errors import ModelError
from jetson.manifest import Preprocessing, Task
from jetson.record import Record

ARCHITECTURES = ("mlp", "cnn-ignore", "cnn-add", "cnn-project", "vit", "mlp-mixer", "resmlp")
OPTIONS = {
    "mlp": ("hidden", "layers"),
    "cnn-ignore": ("channels", "hidden", "layers"),
    "cnn-add": ("channels", "hidden", "layers"),
    "cnn-project": ("channels", "hidden", "layers"),
    "vit": ("hidden", "layers"),
    "mlp-mixer": ("hidden", "layers"),
    "resmlp": ("hidden", "layers"),
}
"""Which options each branch takes. `hidden`: width of its MLP; `channels`: of its convolutions; `layers`: how many."""

HEAD = "head"
Family = Literal["vit", "deit", "dinov2", "dinov2_with_registers", "swin", "swinv2", "python"]
Pooling = Literal["class", "class+distillation", "class+mean", "mean", "mean-first", "own"]
"""What the final head reads; `own` is the head of a model from Python code."""
VERSION = 2
"""Of a checkpoint's config.json. Version 1 knew neither backbones without class token nor Python code."""


class ExitConfig(Record, frozen=True, kw_only=True):
    """One early exit: after which layer, with which branch; an option left None takes the branch's default."""

    layer: int
    architecture: str
    hidden: int | None = None
    channels: int | None = None
    layers: int | None = None

    @property
    def name(self) -> str:
        """`LAYER:BRANCH`, as the user writes it."""
        return f"{self.layer}:{self.architecture}"


class CodeConfig(Record, frozen=True, kw_only=True):
    """The Python function that makes a backbone. The code itself is not in the checkpoint."""

    file: str
    """Its name, without folders."""
    function: str
    sha256: str
    """Of the file's content, as 64 hex digits; nothing else is run."""


class BackboneConfig(Record, frozen=True, kw_only=True):
    """A backbone as `transformers` describes it, and how its final head reads the tokens."""

    family: Family
    pooling: Pooling
    transformers: dict[str, Any]
    pretrained: str | None = None
    """SHA-256 of the weights it was loaded from; None when it starts from random weights."""
    class_token: bool = True
    """Of a ViT: it has one."""
    code: CodeConfig | None = None
    """Of the family `python`, whose `transformers` holds the image size alone."""


class ModelConfig(Record, frozen=True, kw_only=True):
    """Everything needed to build a `MultiExitModel`, weights aside."""

    format: Literal["offramp-checkpoint"] = "offramp-checkpoint"
    version: int = VERSION
    task: Task
    classes: tuple[str, ...] | None
    outputs: int
    preprocessing: Preprocessing
    backbone: BackboneConfig
    exits: tuple[ExitConfig, ...]
    untrained: tuple[str, ...] = ()
    """Exits that still have random weights, by name."""


def parse_exits(text: str, depth: int) -> tuple[ExitConfig, ...]:
    """Read `2:mlp,4:cnn-add:channels=64:layers=2`: early exits, sorted by layer.

    Args:
        text: `LAYER:BRANCH[:OPTION=NUMBER...]`, comma separated; several exits may follow one layer.
        depth: number of backbone layers; exits lie after layers 1..depth.

    Raises:
        ModelError: unknown branch or option, layer out of range, a duplicate, or text of another form.
    """
    exits = [_parse_exit(part.strip(), depth) for part in text.split(",") if part.strip()]
    if not exits:
        raise ModelError("no exits given; write them as LAYER:BRANCH, e.g. --exits 2:mlp,4:cnn-add")
    check_exits(tuple(exits), depth)
    return tuple(sorted(exits, key=lambda e: e.layer))


def check_exits(exits: tuple[ExitConfig, ...], depth: int) -> None:
    """Hold exits against the backbone: known branches, layers in range, no duplicates, options that apply.

    Raises:
        ModelError: naming the exit that is wrong.
    """
    seen: set[str] = set()
    for exit_ in exits:
        if exit_.architecture not in ARCHITECTURES:
            raise ModelError(f"unknown branch {exit_.architecture!r}; the branches are {', '.join(ARCHITECTURES)}")
        if not 1 <= exit_.layer <= depth:
            raise ModelError(
                f"exit {exit_.name}: layer {exit_.layer} is out of range, the backbone has layers 1..{depth}"
            )
        if exit_.name in seen:
            raise ModelError(f"exit {exit_.name} is given twice")
        seen.add(exit_.name)
        for option in ("hidden", "channels", "layers"):
            value = getattr(exit_, option)
            if value is None:
                continue
            if option not in OPTIONS[exit_.architecture]:
                known = ", ".join(OPTIONS[exit_.architecture])
                raise ModelError(f"exit {exit_.name}: {exit_.architecture} has no option {option!r}; it has {known}")
            if not 1 <= value <= 65536:
                raise ModelError(f"exit {exit_.name}: {option}={value} is not between 1 and 65536")


def _parse_exit(text: str, depth: int) -> ExitConfig:
    layer, *rest = text.split(":")
    if not rest or not _is_number(layer):
        raise ModelError(f"exit {text!r} is not of the form LAYER:BRANCH, e.g. 4:cnn-add (layers 1..{depth})")
    options: dict[str, int] = {}
    for part in rest[1:]:
        name, _, value = part.partition("=")
        if name not in ("hidden", "channels", "layers") or not _is_number(value):
            raise ModelError(f"exit {text!r}: {part!r} is not hidden=N, channels=N or layers=N")
        options[name] = int(value)
    return ExitConfig(layer=int(layer), architecture=rest[0], **options)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7
