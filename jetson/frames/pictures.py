"""Images that are there already: files, or arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError, StorageError
from jetson.files import storage
from jetson.frames.frame import Shot
from jetson.frames.stream import Unreadable
from jetson.images import SUFFIXES, decode_file, is_image_file, to_grey
from jetson.preprocessing import Images


class ImageFiles:
    """A sequence of image files, decoded when they are asked for."""

    def __init__(self, paths: Iterable[Path], grey: bool = False) -> None:
        """Nothing is read yet."""
        self.paths, self.grey = tuple(paths), grey

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]:
        """One image.

        Raises:
            DataError: it is no image, or a damaged one.
            StorageError: it cannot be read.
        """
        image = decode_file(self.paths[index])
        return to_grey(image) if self.grey else image

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))


class Pictures:
    """A reader of images that are there already."""

    live = False
    fps = None
    notice = None

    def __init__(
        self, images: Images, names: Sequence[str] | None = None, targets: Any = None, repeat: bool = False
    ) -> None:
        """Begin at the first.

        Args:
            images: uint8 height x width x channels each.
            names: of their files.
            targets: what is right for each, where that is known.
            repeat: start over at the end, without end.
        """
        self._images, self._names, self._targets, self._repeat = images, names, targets, repeat
        self._next = self._failed = 0

    @property
    def count(self) -> int | None:
        """How many there are; None without end."""
        return None if self._repeat else len(self._images)

    def read(self) -> Shot | None:
        """The next."""
        if self._next >= len(self._images):
            if not self._repeat or self._failed >= len(self._images):
                return None  # without end, but not of images that cannot be read
            self._next = 0
        index, self._next = self._next, self._next + 1
        try:
            image = self._images[index]
        except (DataError, StorageError) as error:
            self._failed += 1
            raise Unreadable(str(error)) from None
        self._failed = 0
        return Shot(
            image,
            name=None if self._names is None else self._names[index],
            target=None if self._targets is None else self._targets[index],
        )

    def close(self) -> None:
        """Nothing is held."""


def image_files(path: Path, channels: int) -> Pictures:
    """A reader of an image file, or of those in a folder, by name.

    Raises:
        DataError: there are none.
        StorageError: the folder cannot be read.
    """
    files = [path]
    if path.is_dir():
        with storage(path, "read"):
            files = sorted(f for f in path.iterdir() if is_image_file(f))
        if not files:
            raise DataError(f"{path}: no images in it (of {' '.join(SUFFIXES)})")
    return Pictures(ImageFiles(files, grey=channels == 1), [f.name for f in files])
