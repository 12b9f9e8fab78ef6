"""Images and targets as batches: prepared by the very code that runs on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from jetson.manifest import Preprocessing
from jetson.preprocessing import Preprocessor
from toolkit.data import Images, Part

KEEP_BYTES = 1 << 30
"""Prepared images are kept in memory when all of them take no more than this."""
EVALUATION_BATCH = 256
Batch = tuple[Tensor, Tensor, Tensor]
"""Pixels (batch, channels, height, width), targets, and the indices of the images."""


class Frames(Dataset[Batch]):
    """A part of a data set as model inputs; small ones are prepared once, large ones whenever they are asked for."""

    def __init__(self, part: Part, preprocessing: Preprocessing) -> None:
        super().__init__()
        assert part.targets is not None, "training and evaluation need targets"
        self.images: Images = part.images
        self.targets = torch.from_numpy(part.targets)
        self.preprocess = Preprocessor(preprocessing)
        self.shape = self.preprocess.shape
        small = 4 * len(part) * int(np.prod(self.shape)) <= KEEP_BYTES
        self.ready = self._prepare(range(len(part))) if small else None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """One batch; the loader asks for whole ones."""
        chosen = torch.as_tensor(indices)
        pixels = self._prepare(indices) if self.ready is None else self.ready[chosen]
        return pixels, self.targets[chosen], chosen

    def _prepare(self, indices: Sequence[int]) -> Tensor:
        pixels = np.empty((len(indices), *self.shape), np.float32)
        for row, index in enumerate(indices):
            self.preprocess(self.images[index], out=pixels[row])
        return torch.from_numpy(pixels)


class Shuffled(Sampler[int]):
    """The indices 0..n-1 in an order that is set anew for every epoch."""

    def __init__(self, n: int) -> None:
        self.order = list(range(n))

    def shuffle(self, generator: torch.Generator) -> None:
        """Draw the order of the coming epoch."""
        self.order = torch.randperm(len(self.order), generator=generator).tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


def training_loader(frames: Frames, order: Shuffled, batch_size: int) -> DataLoader[Batch]:
    """Full batches only; the few images left over are others in every epoch."""
    return DataLoader(frames, batch_size, sampler=order, drop_last=True, collate_fn=_as_is)


def evaluation_loader(frames: Frames, processes: int) -> DataLoader[Batch]:
    """All images in order. The batch is what all processes share, so it divides among them."""
    return DataLoader(frames, EVALUATION_BATCH // processes * processes or processes, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
