"""From a model that was trained elsewhere to a multi-exit model whose branches are still to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from jetson.errors import BadInput, ModelError
from jetson.files import storage
from jetson.manifest import Preprocessing
from toolkit.models.backbone import Backbone
from toolkit.models.config import HEAD, ModelConfig, parse_exits
from toolkit.models.multi_exit import MultiExitModel
from toolkit.models.pretrained import Pretrained, fill_head
from toolkit.training.seeds import derived

MOST_BYTES = 1 << 24
"""Of a file with names of classes; ImageNet-21k's take a tenth of it."""


@dataclass(frozen=True, eq=False)
class Untrained:
    """A model ready to be saved, and what was decided on the way."""

    model: MultiExitModel
    """In evaluation mode; branches random, and the head too where `new_head`."""
    new_head: bool
    classes: str
    """Where the names of the classes come from, in words."""


def untrained(
    found: Pretrained, exits: str, seed: int, outputs: int | None = None, classes: tuple[str, ...] | None = None
) -> Untrained:
    """Put random branches on a model; its own classifier stays the last exit.

    Args:
        found: the model.
        exits: `LAYER:BRANCH[:OPTION=NUMBER...]`, comma separated.
        seed: of the random weights.
        outputs: number of classes, for a model without a classifier.
        classes: their names, in the order of the outputs.

    Raises:
        ModelError: an exit does not fit, or outputs and classes do not fit the classifier or are needed and not given.
    """
    if found.checkpoint is not None:
        raise ModelError("a checkpoint of Offramp already; give it to offramp build, or to offramp train --backbone")
    count = _outputs(found, outputs, classes)
    names, source = _names(found, count, classes)
    # The same seed gives the same weights, whatever random numbers the caller has used.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(seed, "weights"))
        backbone = Backbone(found.config, count, found.encoder)
        height, width = backbone.image_size
        config = ModelConfig(
            task="classification",
            classes=names,
            outputs=count,
            preprocessing=Preprocessing(
                height=height, width=width, channels=backbone.channels, mean=found.mean, std=found.std
            ),
            backbone=found.config,
            exits=(early := parse_exits(exits, backbone.depth)),
            untrained=(*(e.name for e in early), *(() if found.heads else (f"{backbone.depth}:{HEAD}",))),
        )
        model = MultiExitModel(config, backbone)
    if found.heads:
        fill_head(model.backbone.head, found.heads)
    return Untrained(model.eval(), not found.heads, source)


def read_classes(file: Path) -> tuple[str, ...]:
    """Names of classes from a text file, one a line; empty lines at the end do not count.

    Raises:
        BadInput: not UTF-8 text, an empty line, a name twice, or fewer than two.
        StorageError: it cannot be read.
    """
    with storage(file, "read"), file.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BadInput(f"{file}: more than {MOST_BYTES:,} bytes; it should hold one name of a class a line")
    try:
        names = [line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError:
        raise BadInput(f"{file}: not UTF-8 text; it should hold one name of a class a line") from None
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise BadInput(f"{file}: line {number} is empty; every line names a class")
        if name in seen:
            raise BadInput(f"{file}: line {number} names {name!r} again")
        seen.add(name)
    if len(names) < 2:
        raise BadInput(f"{file}: {len(names)} classes; there must be two at least, one a line")
    return tuple(names)


def _outputs(found: Pretrained, outputs: int | None, classes: Sequence[str] | None) -> int:
    asked = [(outputs, f"--outputs says {outputs}")] if outputs is not None else []
    asked += [(len(classes), f"--classes names {len(classes)}")] if classes is not None else []
    if found.heads:
        own = int(found.heads[0].out_features)
        wrong = next((words for count, words in asked if count != own), None)
        if wrong:
            raise ModelError(
                f"the model's classifier has {own} outputs and {wrong}; leave it out to keep the classifier, or train "
                "a new one with offramp train --backbone"
            )
        if own < 2:
            raise ModelError("the model's head has one output; a regression comes from offramp train --backbone")
        return own
    if not asked:
        raise ModelError("the model has no classifier: give --outputs N or --classes FILE for a new one")
    if asked[0][0] != asked[-1][0]:
        raise BadInput(f"{asked[0][1]} and {asked[-1][1]}")
    return int(asked[0][0] or 0)


def _names(found: Pretrained, outputs: int, classes: tuple[str, ...] | None) -> tuple[tuple[str, ...], str]:
    if classes is not None:
        return classes, "--classes"
    # transformers numbers the classes of a model that has no names for them.
    if found.labels and found.labels != tuple(f"LABEL_{i}" for i in range(outputs)):
        return found.labels, "the model's own names"
    return tuple(map(str, range(outputs))), "numbered, the model has no names for them; --classes FILE gives some"
