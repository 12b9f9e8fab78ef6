"""Image files as frames, decoded by Pillow where it is installed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError, FrameError, missing_extra
from jetson.files import storage

# Content is only ever opened as one of these, whatever it is called: Pillow knows formats that start other programs.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def is_image_file(path: Path) -> bool:
    """Whether a file's name says it is an image. Hidden files are not (macOS leaves `._photo.jpg` beside a photo)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def to_grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An RGB image as uint8, height x width x 1: the luma of ITU-R 601, as Pillow's mode L has it."""
    grey: npt.NDArray[np.uint8] = (image @ np.array([299, 587, 114]) // 1000).astype(np.uint8)
    return grey[:, :, None]


def decode_file(path: Path) -> npt.NDArray[np.uint8]:
    """One image file, as `decode_image` gives it.

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
        raise DataError(f"{path}: {error}; replace or remove it") from None


def decode_image(content: bytes) -> npt.NDArray[np.uint8]:
    """An image as uint8, height x width x 3 (RGB), upright as its EXIF orientation says.

    Transparency is dropped, grey becomes three equal channels, and 16-bit values keep their upper eight bits.

    Raises:
        FrameError: this is no image, or a damaged one.
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise missing_extra("pillow", "images") from None
    # What Pillow's decoders raise on damaged files; OSError is not the disk here, the bytes are already read.
    damaged = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, ZeroDivisionError)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                grey = (np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            if "transparency" in upright.info:
                upright = upright.convert("RGBA")
            return np.array(upright.convert("RGB"), dtype=np.uint8)
    except UnidentifiedImageError:
        raise FrameError("not a PNG, JPEG, BMP or WebP image") from None
    except (*damaged, struct.error, zlib.error, Image.DecompressionBombError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise FrameError(f"the image cannot be decoded ({said})") from None
