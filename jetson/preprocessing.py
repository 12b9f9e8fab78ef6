"""From a camera frame to the first unit's input; the same code in calibration, profiling and on the device."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jetson.errors import FrameError
from jetson.manifest import Preprocessing
from jetson.resize import Floats, Resizer

MAX_EDGE = 16384
"""Frames with a longer edge are refused: no camera makes them, a mistaken reshape does."""


class Images(Protocol):
    """A sequence of images, uint8, height x width x channels each; a [n, h, w, c] array is one."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, index: int, /) -> npt.NDArray[Any]:
        """One image; may be read from disk only now."""
        ...

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """All of them, in order."""
        ...


class Preprocessor:
    """Resizes, normalises and lays out frames as a `Preprocessing` record says.

    A uint8 frame of a size that was seen before allocates nothing of its size. Threads may share one; they queue up.
    """

    def __init__(self, config: Preprocessing) -> None:
        self.config = config
        self.shape = (config.channels, config.height, config.width)
        std = np.asarray(config.std, np.float32)
        self._scale = (1.0 / (255.0 * std)).reshape(-1, 1, 1).astype(np.float32)
        self._shift = (-np.asarray(config.mean, np.float32) / std).reshape(-1, 1, 1)
        self._resize = Resizer(config.height, config.width)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Preprocessor], tuple[Preprocessing]]:
        """Data loaders send it to other processes, where a lock cannot go."""
        return Preprocessor, (self.config,)

    def __call__(self, frame: Any, out: Floats | None = None) -> Floats:
        """Prepare one frame.

        Args:
            frame: uint8 array, height x width x channels (height x width for one channel; a grey frame serves a
                3-channel model too), any size; or a Pillow image; or a float32 array that is prepared already,
                channels x height x width or 1 x channels x height x width, exactly the model's size.
            out: where to write, float32 channels x height x width; a new array when None.

        Returns:
            `out`, normalised, channels x height x width.

        Raises:
            FrameError: another shape, type, or values that are not finite.
        """
        if out is None:
            out = np.empty(self.shape, np.float32)
        array = self._as_array(frame)
        if array.dtype == np.float32:
            out[...] = self._prepared(array)
            return out
        image = self._checked(array)
        if image.shape[:2] == self.shape[1:]:
            np.copyto(out, image.transpose(2, 0, 1))
            out *= self._scale
            out += self._shift
        else:
            with self._lock:
                self._resize(image, self._scale, self._shift, out)
        return out

    def _as_array(self, frame: Any) -> npt.NDArray[Any]:
        if hasattr(frame, "convert") and hasattr(frame, "mode"):
            try:
                return np.asarray(frame.convert("L" if self.config.channels == 1 else "RGB"))
            except OSError as error:  # Pillow decodes only now
                raise FrameError(f"the image cannot be decoded: {error}") from None
        if isinstance(frame, np.ndarray):
            return frame
        raise FrameError(f"a frame is a numpy array or a Pillow image, not {type(frame).__name__}")

    def _prepared(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.shape not in (self.shape, (1, *self.shape)):
            raise FrameError(
                f"a float32 frame must have the model's own shape {self.shape}, this one has {array.shape}; "
                "give camera frames as uint8 height x width x channels"
            )
        # Both ends are NaN when one value is.
        if not (math.isfinite(array.min()) and math.isfinite(array.max())):
            raise FrameError("the frame holds NaN or infinite values")
        return array.reshape(self.shape)

    def _checked(self, array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        channels = self.config.channels
        if array.dtype != np.uint8:
            raise FrameError(f"a frame is uint8 (or float32, prepared), this one is {array.dtype}")
        if array.ndim == 2:
            array = array[:, :, None]
        grey_ok = array.ndim == 3 and array.shape[2] == 1
        if array.ndim != 3 or (array.shape[2] != channels and not grey_ok):
            raise FrameError(
                f"a frame is height x width x {channels}, this one has shape {array.shape}"
                + ("; drop the alpha channel first" if array.ndim == 3 and array.shape[2] == 4 else "")
            )
        if min(array.shape) < 1 or max(array.shape[:2]) > MAX_EDGE:
            raise FrameError(f"a frame of shape {array.shape} cannot be used (edges of 1 to {MAX_EDGE} pixels)")
        return array
