"""`offramp import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson.errors import BadInput, missing_extra
from toolkit.cli.console import out as stdout
from toolkit.cli.console import print_json, print_table, say
from toolkit.cli.options import HEADS, JSON, Size
from toolkit.cli.train import NEEDED

if TYPE_CHECKING:
    from toolkit.models.pretrained import Pretrained
    from toolkit.training.untrained import Untrained


@click.command("import")
@click.argument("model", type=click.Path(path_type=Path))
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
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the branches' random weights.")
@JSON
def command(
    model: Path,
    exits: str,
    out: Path,
    image: tuple[int, int] | None,
    outputs: int | None,
    classes_file: Path | None,
    heads: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Make a checkpoint of MODEL, with early exits whose branches are not trained yet.

    MODEL is a transformers ViT, DeiT or DINOv2 checkpoint directory (with registers or without), or a timm state dict
    of such a model: a .safetensors, .pth, .pt or .bin file, or the folder that timm writes. Nothing is downloaded.
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
    found = recognise(model, image, heads)
    made = untrained(found, exits, seed, outputs, names)
    save_checkpoint(out, made.model)
    facts = {
        "checkpoint": str(out),
        "digest": load_checkpoint(out).digest,
        **describe(found, made),
        "next": next_commands(model, exits, out, image, heads),
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
    registers = 0 if backbone.stem.registers is None else backbone.stem.registers.shape[1]
    settings = found.encoder.config
    return {
        "family": found.config.family,
        "layers": backbone.depth,
        "width": backbone.tokens.width,
        "heads": backbone.tokens.heads,
        "prefix_tokens": {"class": 1, "distillation": backbone.stem.prefix.shape[1] - 1, "registers": registers},
        "patch": settings.patch_size,
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


def next_commands(
    model: Path, exits: str, out: Path, image: tuple[int, int] | None, heads: int | None
) -> list[dict[str, str]]:
    """The command lines that may follow, each with what it is for."""
    train = ["offramp", "train", "--backbone", str(model), "--exits", exits, "--data", "DATA", "--out", "TRAINED"]
    train += ["--image-size", f"{image[0]}x{image[1]}"] if image else []
    train += ["--heads", str(heads)] if heads else []
    return [
        {
            "for": "units, to see what they cost; DATA is labelled, held out, and has these classes",
            "command": shlex.join(["offramp", "build", str(out), "--data", "DATA", "--out", "BUNDLE"]),
        },
        {"for": "the latency profile of this device", "command": "offramp profile BUNDLE --out profile.json"},
        {"for": "a checkpoint with trained branches, to build in its stead", "command": shlex.join(train)},
    ]


def show(model: Path, facts: dict[str, Any]) -> None:
    """What was recognised, the exits and the next commands on stdout."""
    tokens = [f"{n} {name}" for name, n in facts["prefix_tokens"].items() if n]
    height, width = facts["image"]
    normalisation = facts["normalisation"]
    mean, std = (", ".join(f"{v:.4g}" for v in normalisation[key]) for key in ("mean", "std"))
    head = "kept, the model's own" if facts["head"] == "kept" else "new, random weights"
    rows = [
        ("family", facts["family"]),
        ("layers", f"{facts['layers']} of width {facts['width']}, {facts['heads']} attention heads"),
        ("prefix tokens", ", ".join(tokens)),
        ("image", f"{height}x{width}x{facts['channels']}, patches of {facts['patch']}x{facts['patch']}"),
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
