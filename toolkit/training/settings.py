"""What a user may choose in training. Imports no PyTorch, so that help texts can state the defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from jetson.errors import BadInput, ModelError
from toolkit.models.record import EpochRecord, Strategy

EPOCHS = 20
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
PRETRAINED_FACTOR = 0.1
"""Weights that come from a pretrained checkpoint learn at this share of the learning rate."""
DEPTH = 12
PATCH_SIZE = 4
MOST_PATCHES = 1024
"""A default that would make more patches than this is refused; sizes that are given are taken as they are."""
EXAMPLE = "--exits 2:mlp,4:cnn-add,6:vit"


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What to train and how; None stands for a default that depends on the data or the backbone."""

    data: str
    """Data spec, see `toolkit.data`."""
    out: Path
    """Folder of the checkpoint to write."""
    exits: str
    """`LAYER:BRANCH[:OPTION=NUMBER...]`, comma separated; empty for those of a checkpoint of ours."""
    backbone: str = "tiny"
    """A size name, or a model as `offramp import` takes it, or a checkpoint of ours."""
    heads: int | None = None
    """Attention heads of a timm state dict, which does not say."""
    weights: Path | None = None
    """Handed to the function of a model from Python code."""
    strategy: Strategy | None = None
    """`end-to-end`; `classifier-wise` for a pretrained backbone."""
    epochs: int = EPOCHS
    """Of every phase."""
    batch_size: int = BATCH_SIZE
    """Images per step, all processes together; the number of training images where there are fewer."""
    learning_rate: float = LEARNING_RATE
    weight_decay: float = WEIGHT_DECAY
    seed: int = 0
    image_size: tuple[int, int] | None = None
    """Height and width; the data's, or the checkpoint's."""
    patch_size: int | None = None
    depth: int | None = None
    distillation: float = 0.0
    label_smoothing: float = 0.0
    augment: bool | None = None
    """On for classification."""
    limit: int | None = None
    """Train on so many images, drawn by the seed."""
    restart: bool = False
    """Throw away a finished or unfinished run in `out`."""

    def check(self) -> None:
        """Hold every number against what makes sense.

        Raises:
            BadInput: naming the option.
        """
        if not self.exits.strip() and not Path(self.backbone).expanduser().is_dir():  # which may have exits of its own
            raise ModelError(f"no early exits given; write them as LAYER:BRANCH, e.g. {EXAMPLE}")
        least = {"epochs": 1, "batch_size": 2, "depth": 1, "patch_size": 1, "limit": 2, "seed": 0, "heads": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise BadInput(f"--{name.replace('_', '-')} {value}: must be {bound} or more")
        for option, share in (("--distill", self.distillation), ("--label-smoothing", self.label_smoothing)):
            if not 0 <= share <= 1:
                raise BadInput(f"{option} {share}: must lie between 0 and 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise BadInput(f"--lr {self.learning_rate}: must be a positive number")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise BadInput(f"weight decay {self.weight_decay}: must be 0 or more")
        if self.image_size is not None and min(self.image_size) < 1:
            raise BadInput("--image-size: must be positive")


class Progress:
    """Is told how training goes; this one keeps it to itself."""

    def note(self, text: str) -> None:
        """A line worth knowing."""

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """A phase of `epochs` epochs with `steps` steps each begins, `done` epochs of it already behind."""

    def step(self) -> None:
        """One step of the current phase is over."""

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        """One epoch of the current phase, which has `epochs`, is over."""

    def end(self) -> None:
        """Training is over, well or not."""
