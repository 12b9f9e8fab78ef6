"""`offramp import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from jetson.errors import BadInput, missing_extra
from toolkit.cli.console import out as stdout
from toolkit.cli.console import print_json, print_table, say
from toolkit.cli.options import HEADS, JSON, WEIGHTS, Size
from toolkit.cli.train import NEEDED
from toolkit.models.shape import TokenShape, as_pair

if TYPE_CHECKING:
    from toolkit.models.pretrained import Pretrained
    from toolkit.training.untrained import Untrained


@click.command("import")
@click.argument("model", type=click.Path())
@click.option(
    "--exits",
    required=True,
    metavar="LAYER:BRANCH,...",
    help="Early exits, e.g. 3:mlp,6:cnn-add; branches and their options are those of offramp train.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the checkpoint to write.")
@click.option("--image", type=Size(), metavar="N|HxW", help="Model input [default: the model's own size].")
@click.option("--outputs", type=click.IntRange(2, 1 << 20), help="Number of classes, for a model without a classifier.")
@click.option(
    "--classes",
    "classes_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes in the order of the outputs, one a line [default: the model's own, or numbers].",
)
@HEADS
@WEIGHTS
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the branches' random weights.")
@JSON
def command(
    model: str,
    exits: str,
    out: Path,
    image: tuple[int, int] | None,
    outputs: int | None,
    classes_file: Path | None,
    heads: int | None,
    weights: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Make a checkpoint of MODEL, with early exits whose branches are not trained yet.

    MODEL is a transformers ViT, DeiT, DINOv2 (with registers or without), Swin or Swin v2 checkpoint directory; a timm
    state dict of such a model: a .safetensors, .pth, .pt or .bin file, or the folder that timm writes; or
    FILE.py:FUNCTION, Python code that gives a chain of stages, a CNN for instance. That code is run; nothing is
    downloaded.
    """
    try:
        from toolkit.models.checkpoint import load_checkpoint, save_checkpoint
        from toolkit.models.recognise import recognise
        from toolkit.training.untrained import read_classes, untrained
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        raise missing_extra(error.name or "torch", "host") from None

    _check_out(out)
    names = read_classes(classes_file) if classes_file is not None else None
    found = recognise(model, image, heads, weights)
    made = untrained(found, exits, seed, outputs, names)
    save_checkpoint(out, made.model)
    facts = {
        "checkpoint": str(out),
        "digest": load_checkpoint(out).digest,
        **describe(found, made),
        "next": next_commands(model, out),
    }
    if as_json:
        print_json(facts)
    else:
        show(model, facts)
    say(f"checkpoint, its branches untrained -> {out}")


def describe(found: Pretrained, made: Untrained) -> dict[str, Any]:
    """What was recognised and what was made of it, as plain data."""
    from toolkit.models.count import parameters

    model, backbone = made.model, made.model.backbone
    first, last = backbone.shapes[0], backbone.shapes[-1]
    registers = getattr(backbone.stem, "registers", None)
    special = last.prefix - (0 if registers is None else registers.shape[1])
    settings = found.config.transformers
    return {
        "family": found.config.family,
        "code": None if found.config.code is None else msgspec.to_builtins(found.config.code),
        "layers": backbone.depth,
        "width": last.width,
        "heads": last.heads,
        "stages": _stages(backbone.shapes),
        "prefix_tokens": {
            "class": min(special, 1),
            "distillation": max(special - 1, 0),
            "registers": last.prefix - special,
        },
        "patch": settings.get("patch_size", getattr(getattr(found.encoder, "config", None), "patch_size", None)),
        "grid": list(first.grid),
        "image": list(backbone.image_size),
        "channels": backbone.channels,
        "normalisation": {"mean": found.mean, "std": found.std, "source": found.normalisation},
        "head": "new" if made.new_head else "kept",
        "pooling": found.config.pooling,
        "outputs": model.config.outputs,
        "classes": model.config.classes,
        "classes_source": made.classes,
        "exits": [
            {
                "exit": exit_.name,
                "layer": exit_.layer,
                "branch": exit_.architecture,
                "parameters": parameters(model.branch(index)),
                "trained": exit_.layer == backbone.depth and index == len(model.branches) and not made.new_head,
            }
            for index, exit_ in enumerate(model.exits)
        ],
        "parameters": parameters(model),
        "pretrained": found.config.pretrained,
        "remarks": found.remarks,
    }


def _stages(shapes: tuple[TokenShape, ...]) -> list[dict[str, Any]]:
    """Runs of layers that give the same shape."""
    found: list[dict[str, Any]] = []
    for layer, shape in enumerate(shapes, start=1):
        facts = {"width": shape.width, "heads": shape.heads, "grid": list(shape.grid), "map": shape.map}
        if found and facts.items() <= found[-1].items():
            found[-1]["last"] = layer
        else:
            found.append({"first": layer, "last": layer, **facts})
    return found


def next_commands(model: str, out: Path) -> list[dict[str, str]]:
    """The command lines that may follow, each with what it is for."""
    build = ["offramp", "build", str(out), "--data", "DATA", "--out", "BUNDLE"]
    train = ["offramp", "train", "--backbone", str(out), "--data", "DATA", "--out", "TRAINED"]
    return [
        {
            "for": "units, to see what they cost; DATA: labelled, held-out images of these classes, PATH/CLASS/...",
            "command": shlex.join(build),
        },
        {"for": "the latency profile of this device", "command": "offramp profile BUNDLE --out profile.json"},
        {
            "for": "a checkpoint with these branches trained, to build in its stead; other classes get a new head",
            "command": shlex.join(train),
        },
    ]


def show(model: str, facts: dict[str, Any]) -> None:
    """What was recognised, the exits and the next commands on stdout."""
    tokens = [f"{n} {name}" for name, n in facts["prefix_tokens"].items() if n]
    height, width = facts["image"]
    normalisation = facts["normalisation"]
    mean, std = (", ".join(f"{v:.4g}" for v in normalisation[key]) for key in ("mean", "std"))
    head = "kept, the model's own" if facts["head"] == "kept" else "new, random weights"
    patch = "" if facts["patch"] is None else ", patches of {}x{}".format(*as_pair(facts["patch"]))
    code = facts["code"]
    rows = [
        ("family", facts["family"] + ("" if code is None else f", SHA-256 {code['sha256'][:12]}... of {code['file']}")),
        *_layers(facts),
        ("prefix tokens", ", ".join(tokens) or "none; branches that read a class token read the mean of all"),
        ("image", f"{height}x{width}x{facts['channels']}{patch}"),
        ("normalisation", f"mean {mean}, std {std}: {normalisation['source']}"),
        ("head", f"{head}; {facts['outputs']:,} outputs, reads {facts['pooling']}"),
        ("classes", f"{_some(facts['classes'])}: {facts['classes_source']}"),
        ("parameters", f"{facts['parameters']:,}, branches and all"),
        *(("taken to be so", remark) for remark in facts["remarks"]),
    ]
    print_table(f"Recognised in {model}", ["what", "found"], [list(row) for row in rows], left=2)
    print_table(
        "Exits",
        ["exit", "branch", "weights", "layer", "parameters"],
        [
            [
                row["exit"],
                row["branch"],
                "the model's" if row["trained"] else "random",
                str(row["layer"]),
                f"{row['parameters']:,}",
            ]
            for row in facts["exits"]
        ],
        left=3,
    )
    stdout.print("\nNext:")
    for line in facts["next"]:
        stdout.print(f"  # {line['for']}\n  {line['command']}", markup=False)


def _layers(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Depth and width; a line for each stage where they change."""
    stages = facts["stages"]
    if len(stages) == 1 and not stages[0]["map"]:
        return [("layers", f"{facts['layers']} of width {facts['width']}, {facts['heads']} attention heads")]
    rows = [("layers", f"{facts['layers']} in {len(stages)} stages")]
    for stage in stages:
        rows_, columns = stage["grid"]
        which = (
            f"layers {stage['first']}-{stage['last']}" if stage["last"] > stage["first"] else f"layer {stage['first']}"
        )
        what = f"a map of {rows_}x{columns}" if stage["map"] else f"{rows_}x{columns} tokens, {stage['heads']} heads"
        rows.append((f"  {which}", f"width {stage['width']}, {what}"))
    return rows


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", ... {names[-1]}" if len(names) > 3 else "")


def _check_out(out: Path) -> None:
    """Refuse to lose files that are no checkpoint's, or a checkpoint that was trained."""
    from toolkit.models.checkpoint import STATE, TRAINING, foreign_files

    if foreign := foreign_files(out):
        raise BadInput(
            f"{out} holds other files than a checkpoint's ({foreign[0]}); name a folder of its own with --out"
        )
    if any((out / name).exists() for name in (TRAINING, STATE)):
        raise BadInput(f"{out} holds a checkpoint that was trained; name another folder with --out")
    if out.is_mount():
        raise BadInput(f"{out} is a mount point and cannot be replaced as a whole; name a folder inside it with --out")
