"""The training strategies of arXiv:2106.15183, section IV, as data: each is a list of phases, run by one loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetson.errors import ModelError
from toolkit.models.config import HEAD, ExitConfig
from toolkit.models.record import Strategy

STRATEGIES: tuple[Strategy, ...] = ("end-to-end", "classifier-wise", "layer-wise")
FINAL_WEIGHT = 2.0
"""Loss weight of the final exit when all exits train together; an early exit's is 1."""


@dataclass(frozen=True)
class Phase:
    """One stretch of training: what moves, what is asked for, how long. Everything else is frozen."""

    name: str
    segments: tuple[int, ...]
    """Segments of the backbone that train (0-based); none of them lies before a frozen one."""
    weights: dict[str, float]
    """Loss weight by exit name; exactly the branches of these exits train."""
    epochs: int


def phases(
    strategy: Strategy,
    exits: Sequence[ExitConfig],
    epochs: int,
    *,
    pretrained: bool = False,
    new_head: bool = True,
    distillation: float = 0.0,
) -> list[Phase]:
    """What a strategy does with a model.

    *End-to-end*: one phase, everything trains, the final exit weighs twice. *Classifier-wise*: the backbone with its
    head alone, then frozen, all branches; a pretrained backbone is frozen from the start, and its head trains with
    the branches if it is new. *Layer-wise*: each segment with the branches at its end, then frozen, on to the next;
    the head trains with the last.

    Args:
        strategy: one of `STRATEGIES`.
        exits: all exits of the model in order, its head as the last.
        epochs: of every phase.
        pretrained: the backbone does not start from random weights.
        new_head: the final head does.
        distillation: share of the loss that comes from the final exit's output.

    Raises:
        ModelError: distillation with a strategy whose early exits train before the final one.
    """
    head = exits[-1].name
    early = [e.name for e in exits[:-1]]
    cuts = sorted({e.layer for e in exits})
    everything = tuple(range(len(cuts)))
    if strategy == "end-to-end":
        return [Phase("end-to-end", everything, dict.fromkeys(early, 1.0) | {head: FINAL_WEIGHT}, epochs)]
    if strategy == "classifier-wise":
        asked = dict.fromkeys(early, 1.0)
        if pretrained:
            return [Phase("branches", (), asked | ({head: 1.0} if new_head else {}), epochs)]
        return [Phase("backbone", everything, {head: 1.0}, epochs), Phase("branches", (), asked, epochs)]
    if distillation:
        raise ModelError(
            "--distill needs the final exit in the same or an earlier phase; layer-wise trains it last "
            "(use end-to-end or classifier-wise)"
        )
    return [
        Phase(f"layer {cut}", (index,), {e.name: 1.0 for e in exits if e.layer == cut}, epochs)
        for index, cut in enumerate(cuts)
    ]


def is_final(exit_name: str) -> bool:
    """Whether the exit is the backbone's own head."""
    return exit_name.endswith(f":{HEAD}")
