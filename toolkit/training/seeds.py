"""Random numbers by their purpose: every epoch's are derived from the seed, never from what ran before it."""

from __future__ import annotations

import numpy as np
import torch

_PURPOSES = ("weights", "order", "augment", "dropout")


def derived(seed: int, purpose: str, *position: int) -> int:
    """A seed for one purpose at one place of the run, e.g. phase and epoch; 63 bits, the same everywhere."""
    state = np.random.SeedSequence([seed, _PURPOSES.index(purpose), *position]).generate_state(1, np.uint64)
    return int(state[0] >> 1)


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A generator of its own for one purpose at one place of the run."""
    return torch.Generator().manual_seed(derived(seed, purpose, *position))
