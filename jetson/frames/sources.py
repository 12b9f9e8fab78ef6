"""What a text names as a source of frames, and opening it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from jetson.errors import BadInput, DataError, StorageError
from jetson.files import storage
from jetson.frames.arrival import Arrival
from jetson.frames.captured import Captured
from jetson.frames.opencv import import_cv2, need_gstreamer
from jetson.frames.pictures import image_files
from jetson.frames.stream import Reader, Stream, period_ms
from jetson.images import SUFFIXES

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"),
    *(".3gp", ".mjpg", ".mjpeg", ".h264", ".264", ".h265", ".hevc"),
)
"""What names of video files end in."""
BACKENDS = ("CAP_FFMPEG", "CAP_GSTREAMER", "CAP_AVFOUNDATION", "CAP_MSMF")
"""What opens files and addresses, the first that can: OpenCV has some of them."""
CAMERA = re.compile(r"camera(?::(?P<which>\d{1,3}|/dev/.+))?|(?P<path>/dev/video\d+)")
ADDRESS = re.compile(r"(rtsp|rtsps|rtmp|http|https|udp|tcp|srt)://\S+")


def is_captured(what: str) -> bool:
    """Whether OpenCV opens this: a camera, a pipeline, an address or a video file."""
    return bool(
        what.startswith("gst:")
        or CAMERA.fullmatch(what)
        or ADDRESS.fullmatch(what)
        or (Path(what).suffix.lower() in VIDEOS and not Path(what).is_dir())
    )


def open_frames(
    what: str | Path,
    *,
    fps: float | None = None,
    budget_ms: float | None = None,
    every_frame: bool = False,
    pace: bool = True,
    channels: int = 3,
    size: tuple[int, int] | None = None,
) -> Stream:
    """Open a source of frames.

    Args:
        what: an image file, a folder of them, a video file, `camera:0`, `/dev/video0`, `gst:` and a GStreamer
            pipeline, or an address such as `rtsp://...`.
        fps: frames a second. A camera is asked for as many; a video plays at its own times; images come at this rate.
            The budget of each is the time between two. None: frames of files are there when they are asked for.
        budget_ms: of each frame, where that is another.
        every_frame: answer frames that came while the device was busy too; else only the newest of them is given.
        pace: False: frames of files do not come at their times, but when the one before has been answered.
        channels: of the model: 1 for grey images.
        size: height and width that a camera is asked for.

    Raises:
        DataError: there is nothing there, or nothing that can be read.
        StorageError: it may not be read.
        MissingExtra: OpenCV, or Pillow, is not installed.
        BadInput: this OpenCV cannot open such a source.
    """
    own_ms = None if fps is None else period_ms(fps)
    reader = open_reader(what, fps=fps, channels=channels, size=size)
    return stream(reader, fps=fps, budget_ms=own_ms if budget_ms is None else budget_ms, every=every_frame, pace=pace)


def stream(
    reader: Reader, *, fps: float | None, budget_ms: float | None, every: bool, pace: bool, timed: bool = False
) -> Stream:
    """Frames of a reader as `open_frames` has them come.

    Args:
        reader: of the images.
        fps: as of `open_frames`.
        budget_ms: of every frame.
        every: drop none.
        pace: as of `open_frames`.
        timed: frames have budgets, though not `budget_ms`.
    """
    video = isinstance(reader, Captured)
    arrival = None
    if fps is not None and pace and not reader.live:
        arrival = Arrival((reader.fps if video else None) or fps, own_times=video)
    # Decoding ahead of an inference takes cores away from it: quicker for all frames, slower for each.
    beside = video and budget_ms is None and not timed
    return Stream(reader, budget_ms=budget_ms, arrival=arrival, every_frame=every, beside=beside)


def open_reader(
    what: str | Path, *, fps: float | None = None, channels: int = 3, size: tuple[int, int] | None = None
) -> Reader:
    """What gives the images of a source; arguments and errors are those of `open_frames`."""
    text = str(what)
    if is_captured(text):
        return _capture(text, fps, channels, size)
    path = Path(text).expanduser()
    with storage(path, "read"):
        there = path.exists()
    if not there:
        raise DataError(f"{text!r}: no such file or folder")
    if not path.is_dir() and path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: neither a folder, an image ({' '.join(SUFFIXES)}) nor a video ({' '.join(VIDEOS)})")
    return image_files(path, channels)


def _capture(text: str, fps: float | None, channels: int, size: tuple[int, int] | None) -> Captured:
    camera = CAMERA.fullmatch(text)
    if camera is not None:
        device = _device(camera)
        cv2 = import_cv2()
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2 if os.name == "posix" and os.uname()[0] == "Linux" else 0)
        if not capture.isOpened():
            raise DataError(f"{text}: is no camera, or another process has it")
        _ask(cv2, capture, fps, size)
        return Captured(cv2, capture, text, channels=channels, live=True, lasting=True)
    if size is not None:
        raise BadInput("only a camera can be asked for a size; a pipeline has it in its caps")
    if text.startswith("gst:"):
        cv2 = import_cv2()
        need_gstreamer(cv2)
        capture = cv2.VideoCapture(text[4:].strip(), cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            raise DataError(f"the pipeline does not start: try it with gst-launch-1.0; it must end in appsink ({text})")
        return Captured(cv2, capture, "the pipeline", channels=channels, live=True)
    if ADDRESS.fullmatch(text):
        cv2 = import_cv2()
        return _opened(cv2, text, "nobody answers there, or with nothing that is a video", channels, True)
    path = Path(text).expanduser()
    with storage(path, "read"):
        if not path.is_file():
            raise DataError(f"{text!r}: no such file or folder")
        path.open("rb").close()
    return _opened(import_cv2(), str(path), "damaged, incomplete, or no video that this OpenCV knows", channels, False)


def _opened(cv2: Any, where: str, why_not: str, channels: int, live: bool) -> Captured:
    # By name: asked for any, OpenCV also tries readers of its own, which print what they think of a damaged file.
    for name in BACKENDS:
        if hasattr(cv2, name):
            capture = cv2.VideoCapture(where, getattr(cv2, name))
            if capture.isOpened():
                # What lies at an address and says how long it is comes when it is asked for, as a file does.
                ends = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
                return Captured(cv2, capture, where, channels=channels, live=live and not ends)
    raise DataError(f"{where}: {why_not}")


def _device(camera: re.Match[str]) -> int | str:
    """What OpenCV calls the camera; on Linux it is looked at first, because OpenCV says no more than that it failed."""
    which = camera["path"] or camera["which"] or "0"
    path = Path(which if which.startswith("/") else f"/dev/video{which}")
    if path.parent.is_dir() and os.name == "posix" and os.uname()[0] == "Linux":
        if not path.exists():
            found = sorted(f.name for f in path.parent.glob("video*"))
            raise DataError(f"there is no camera {path}; there is {', '.join(found) or 'none at all'}")
        if not os.access(path, os.R_OK | os.W_OK):
            raise StorageError(f"{path}: no permission; add yourself to the group video: sudo usermod -aG video $USER")
    return int(which) if which.isdigit() else which


def _ask(cv2: Any, capture: Any, fps: float | None, size: tuple[int, int] | None) -> None:
    """Ask a camera for what is wanted; it gives what it can."""
    with contextlib.suppress(cv2.error):
        if size is not None:
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[0])
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[1])
        if fps is not None:
            capture.set(cv2.CAP_PROP_FPS, fps)
