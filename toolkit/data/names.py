"""Classes of data and of a model, brought together by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def renumbered(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str]) -> np.ndarray | None:
    """Targets numbered as a model numbers its classes.

    Args:
        targets: int64 [n], places in `ours`.
        ours: the data's classes.
        theirs: the model's.

    Returns:
        The places in `theirs`; as they are where the model has as many classes and numbers for names; None where the
        model lacks one of the data's classes.
    """
    if set(ours) <= set(theirs):
        places: np.ndarray = np.array([theirs.index(name) for name in ours], dtype=np.int64)[targets]
        return places
    return targets if len(ours) == len(theirs) and are_numbers(theirs) else None


def are_numbers(names: Sequence[str]) -> bool:
    """Whether the names of classes only count them, as `transformers` does where there are none."""
    return all(re.fullmatch(rf"(LABEL_|class[ _]?)?{number}", name) for number, name in enumerate(names))
