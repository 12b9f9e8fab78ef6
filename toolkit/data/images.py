"""Image files that are decoded when they are asked for, one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from jetson.errors import DataError, FrameError
from jetson.files import sha256_file, storage
from jetson.images import decode_image
from toolkit.data.wording import one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def is_image_file(path: Path) -> bool:
    """Whether a file's name says it is an image. Hidden files are not (macOS leaves `._photo.jpg` beside a photo)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def decode(path: Path) -> np.ndarray:
    """One image file as uint8, height x width x 3 (RGB), upright as its EXIF orientation says.

    Transparency is dropped, grey becomes three equal channels, and 16-bit values keep their upper eight bits.

    Raises:
        DataError: the file is no image, or a damaged one.
        StorageError: the file cannot be read.
        MissingExtra: Pillow is not installed.
    """
    with storage(path, "read"):
        content = path.read_bytes()
    try:
        return decode_image(content)
    except FrameError as error:
        raise DataError(f"{path}: {one_line(error)}; replace or remove it") from None


def to_grey(image: np.ndarray) -> np.ndarray:
    """An RGB image as uint8, height x width x 1: the luma of ITU-R 601, as Pillow's mode L has it."""
    return (image @ np.array([299, 587, 114]) // 1000).astype(np.uint8)[:, :, None]


class FileImages:
    """A sequence of RGB images, or grey ones, kept as files.

    An image is its file's bytes where content is compared: the same picture saved in two formats counts as two.
    """

    def __init__(self, paths: Iterable[Path], grey: bool = False):
        self.paths = tuple(paths)
        self.grey = grey
        self._digests: dict[Path, bytes] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> np.ndarray:
        image = decode(self.paths[index])
        return to_grey(image) if self.grey else image

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def pick(self, indices: Iterable[int]) -> FileImages:
        """The images at `indices`, in that order; nothing is decoded and no file is hashed twice."""
        chosen = FileImages((self.paths[int(i)] for i in indices), self.grey)
        chosen._digests = self._digests
        return chosen

    def digests(self) -> tuple[bytes, ...]:
        """A content hash of every file, in order."""
        for path in self.paths:
            if path not in self._digests:
                self._digests[path] = hashlib.sha256(f"file {sha256_file(path)}".encode()).digest()
        return tuple(self._digests[path] for path in self.paths)
