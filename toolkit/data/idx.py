"""IDX, the format of MNIST and its kin: a short big-endian header, then the values.

The header is two zero bytes, a type code (8 is unsigned byte), the number of axes, and a 32-bit length for each axis
(http://yann.lecun.com/exdb/mnist/, "the IDX file format").
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from jetson.errors import DataError
from jetson.files import storage
from toolkit.data.wording import one_line

_UNSIGNED_BYTE = 8


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The uint8 array in an IDX file, gzipped or not.

    Args:
        path: the file; its first bytes tell whether it is gzipped.
        axes: how many axes the array must have, 3 for images and 1 for labels.

    Raises:
        DataError: truncated, damaged, or another kind of file.
        StorageError: the file cannot be read.
    """
    with storage(path, "read"):
        content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
            raise DataError(f"{path}: damaged or incomplete gzip ({one_line(error)}); download it again") from None
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(f"{path}: {len(content)} bytes are too few for an IDX file; download it again")
    if content[:4] != bytes((0, 0, _UNSIGNED_BYTE, axes)):
        raise DataError(f"{path}: not an IDX file of bytes with {axes} axes (it starts with {content[:4].hex()})")
    shape = struct.unpack(f">{axes}I", content[4:header])
    there, expected = len(content) - header, math.prod(shape)
    if there != expected:
        raise DataError(f"{path}: {there} values where its header announces {expected}; download it again")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()
