"""`offramp train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson.errors import missing_extra
from toolkit.cli.console import print_json, print_table, say
from toolkit.cli.options import CODE, HEADS, JSON, THREADS, WEIGHTS, Size
from toolkit.training import settings as defaults

if TYPE_CHECKING:
    from toolkit.models.checkpoint import Checkpoint
    from toolkit.models.record import TrainingRecord

STRATEGIES = ("end-to-end", "classifier-wise", "layer-wise")
NEEDED = ("torch", "transformers", "accelerate", "safetensors")


@click.command("train")
@click.option("--data", required=True, metavar="SPEC", help="digits, mnist, counting, NAME:PATH or a folder of images.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the checkpoint to write.")
@click.option(
    "--exits",
    default="",
    metavar="LAYER:BRANCH,...",
    help="Early exits, e.g. 2:mlp,4:cnn-add,6:vit. Branches: mlp, cnn-ignore, cnn-add, cnn-project, vit, mlp-mixer, "
    "resmlp. Options follow: 4:cnn-add:channels=64:hidden=128:layers=2. [required, but for a checkpoint of Offramp]",
)
@click.option(
    "--backbone",
    default="tiny",
    show_default=True,
    metavar="tiny|small|base|MODEL",
    help="A size with random weights, or a MODEL as offramp import takes it: a transformers ViT, DeiT, DINOv2 or Swin "
    "checkpoint directory, a timm state dict, or FILE.py:FUNCTION; or a checkpoint of Offramp, whose exits and weights "
    "are then the start.",
)
@HEADS
@WEIGHTS
@CODE
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    help="What trains when [default: end-to-end; classifier-wise for a MODEL].",
)
@click.option("--epochs", default=defaults.EPOCHS, show_default=True, help="Passes over the images, in every phase.")
@click.option("--batch-size", default=defaults.BATCH_SIZE, show_default=True, help="Images per step.")
@click.option(
    "--lr",
    "learning_rate",
    default=defaults.LEARNING_RATE,
    show_default=True,
    help=f"Highest learning rate; weights of a MODEL take {defaults.PRETRAINED_FACTOR:g} of it.",
)
@click.option("--seed", default=0, show_default=True, help="Of the weights, the order and the augmentation.")
@click.option(
    "--image-size",
    type=Size(),
    metavar="N|HxW",
    help="Model input [default: the data's size; its own for a MODEL].",
)
@click.option("--patch-size", type=int, help=f"Edge of a patch, for a size [default: {defaults.PATCH_SIZE}].")
@click.option("--depth", type=int, help=f"Layers, for a size [default: {defaults.DEPTH}].")
@click.option(
    "--distill",
    "distillation",
    default=0.0,
    show_default=True,
    help="Share (0..1) of an early exit's loss that comes from the final exit's output.",
)
@click.option(
    "--label-smoothing", default=0.0, show_default=True, help="Share (0..1) of the target spread over all classes."
)
@click.option(
    "--augment/--no-augment",
    default=None,
    help="Shift, scale and rotate a little; mirror photographs [default: on for classification].",
)
@click.option("--limit", type=int, help="Train on so many images, drawn by the seed [default: all].")
@click.option("--restart", is_flag=True, help="Throw away a finished or unfinished run in --out.")
@THREADS
@JSON
def command(threads: int | None, as_json: bool, code: Path | None, **chosen: Any) -> None:
    """Train a multi-exit ViT and write its checkpoint to --out.

    A run that was stopped goes on from its last whole epoch when the same command is given again. For several
    processes: torchrun --nproc-per-node 2 -m toolkit train ..., or on GPUs accelerate launch -m toolkit train ...
    """
    try:
        import torch

        from toolkit.models.checkpoint import load_checkpoint, trust_code
        from toolkit.training.run import train
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        raise missing_extra(error.name or "torch", "host") from None
    from toolkit.cli.train_progress import shown

    if threads is not None:
        torch.set_num_threads(threads)
    if code is not None:
        trust_code(Path(chosen["backbone"]).expanduser(), code)
    chosen_settings = defaults.TrainSettings(**chosen)
    progress = shown()
    out = train(chosen_settings, progress)
    if not is_main_process():
        return
    checkpoint = load_checkpoint(out)
    assert checkpoint.training is not None, "a finished run has a record"
    rows = describe(checkpoint, checkpoint.training)
    if as_json:
        seconds = checkpoint.training.seconds
        print_json({"checkpoint": str(out), "digest": checkpoint.digest, "seconds": seconds, "exits": rows})
    else:
        show(rows)
    say(f"checkpoint -> {out}")


def is_main_process() -> bool:
    """Whether this is the process that prints, of those that `accelerate launch` started."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def describe(checkpoint: Checkpoint, training: TrainingRecord) -> list[dict[str, Any]]:
    """Every exit of a trained model: where it is, what it is, what it scores on the test part."""
    from toolkit.models.count import parameters

    model = checkpoint.model
    return [
        {
            "exit": exit_.name,
            "layer": exit_.layer,
            "branch": exit_.architecture,
            "parameters": parameters(model.branch(index)),
            "metric": score.metric,
            "value": score.value,
            "n": score.n,
        }
        for index, (exit_, score) in enumerate(zip(model.exits, training.test, strict=True))
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """The exits as a table on stdout."""
    accuracy = rows[0]["metric"] == "accuracy"
    print_table(
        "Exits, on the test part",
        ["exit", "branch", "layer", "parameters", "accuracy %" if accuracy else "mean abs error", "n"],
        [
            [
                row["exit"],
                row["branch"],
                str(row["layer"]),
                f"{row['parameters']:,}",
                f"{100 * row['value']:.1f}" if accuracy else f"{row['value']:.3f}",
                f"{row['n']:,}",
            ]
            for row in rows
        ],
        left=2,
    )
