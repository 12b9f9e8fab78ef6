"""Images that OpenCV captures: of a video file, a camera, a pipeline or an address."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from jetson.errors import DataError, WorkFailed, first_line
from jetson.frames.frame import Shot
from jetson.scheduling.budget import clock

SHORT = 0.02
"""A file may hold so much less than it says before its user is told; containers only estimate."""


class Captured:
    """A reader of what a `cv2.VideoCapture` gives, as RGB or grey."""

    def __init__(self, cv2: Any, capture: Any, what: str, *, channels: int, live: bool, lasting: bool = False) -> None:
        """Begin with the first image.

        Args:
            cv2: the module.
            capture: an opened `cv2.VideoCapture`, or what does as it does.
            what: it is called in messages.
            channels: 1 for grey images.
            live: images come by themselves, and those that nobody asks for are lost.
            lasting: it has no end: when no image comes, something is broken.

        Raises:
            DataError: it gives no image at all.
        """
        self._cv2, self._capture, self._what = cv2, capture, what
        self.live, self._lasting = live, lasting
        self._grey = channels == 1
        self._orientation = 0 if live else _upright(cv2, capture)
        self._read = 0
        self._over = False
        self._grabbed = self._grab()
        if not self._grabbed:
            capture.release()
            raise DataError(
                f"{what}: gives no images"
                + ("" if live else "; the file is damaged, incomplete, or in a format that this OpenCV cannot decode")
            )
        count, fps = self._get(cv2.CAP_PROP_FRAME_COUNT), self._get(cv2.CAP_PROP_FPS)
        self.count = round(count) if not live and count is not None and 0 < count < 1e9 else None
        """Images in the file, as it says."""
        self.fps = fps if fps is not None and 0.01 <= fps <= 1e4 else None
        """As the file or the camera says."""
        if live:
            self._grabbed = False  # it is old by the time that somebody wants it

    @property
    def notice(self) -> str | None:
        """That a file ended too soon."""
        if not self._over or self.count is None or self._read >= self.count - max(1, SHORT * self.count):
            return None
        return f"{self._what}: {self._read} of {self.count} frames could be read; the rest is damaged or missing"

    def read(self) -> Shot | None:
        """The next image; None behind the last, and behind what cannot be decoded.

        Raises:
            WorkFailed: a camera gives no more.
        """
        if not self._grabbed and not self._grab():
            self._end()
            return None
        self._grabbed = False
        came = clock() if self.live else None
        source_ms = self._get(self._cv2.CAP_PROP_POS_MSEC)
        try:
            there, image = self._capture.retrieve()
        except self._cv2.error:
            there, image = False, None
        if not there or image is None:
            self._end()
            return None
        self._read += 1
        return Shot(self._in_colour(image), source_ms=source_ms, came=came)

    def close(self) -> None:
        """Let go of the file or the device."""
        self._capture.release()

    def _grab(self) -> bool:
        try:
            return bool(self._capture.grab())
        except self._cv2.error:
            return False

    def _end(self) -> None:
        self._over = True
        if self._lasting:
            raise WorkFailed(f"{self._what}: gave {self._read} frames, and no more come; is it still plugged in?")

    def _get(self, what: int) -> float | None:
        try:
            value = float(self._capture.get(what))
        except self._cv2.error:
            return None
        return value if math.isfinite(value) else None

    def _in_colour(self, image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        cv2 = self._cv2
        if image.dtype != np.uint8:
            raise DataError(f"{self._what}: gives {image.dtype} images; ask for uint8, e.g. format=BGR in a pipeline")
        channels = 1 if image.ndim == 2 else image.shape[2]
        to = "GRAY" if self._grey else "RGB"
        try:
            if channels in (3, 4):
                image = cv2.cvtColor(image, getattr(cv2, f"COLOR_BGR{'A' * (channels == 4)}2{to}"))
            elif channels != 1:
                raise DataError(f"{self._what}: gives images of {channels} channels; ask for BGR")
            if self._orientation:
                turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
                image = cv2.rotate(image, turns[self._orientation])
        except cv2.error as error:
            raise DataError(f"{self._what}: an image cannot be converted ({first_line(error)})") from None
        return image if image.ndim == 3 else image[:, :, None]


def _upright(cv2: Any, capture: Any) -> int:
    """Have a video turned as its file says; the degrees, clockwise, that are left to us where OpenCV cannot."""
    try:
        if capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1):
            return 0
        turned = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
    except (AttributeError, cv2.error):  # before OpenCV 4.5
        return 0
    return turned if turned in (90, 180, 270) else 0
