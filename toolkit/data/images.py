"""Image files that are decoded when they are asked for, one at a time, and compared by their files' bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from jetson.files import sha256_file
from jetson.frames.pictures import ImageFiles
from jetson.images import SUFFIXES, is_image_file
from jetson.images import decode_file as decode

__all__ = ["SUFFIXES", "FileImages", "decode", "is_image_file"]


class FileImages(ImageFiles):
    """A sequence of RGB images, or grey ones, kept as files.

    An image is its file's bytes where content is compared: the same picture saved in two formats counts as two.
    """

    def __init__(self, paths: Iterable[Path], grey: bool = False):
        super().__init__(paths, grey)
        self._digests: dict[Path, bytes] = {}

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
