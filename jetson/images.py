"""Image files as frames, decoded by Pillow where it is installed."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt

from jetson.errors import FrameError, missing_extra

# Content is only ever opened as one of these, whatever it is called: Pillow knows formats that start other programs.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")


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
