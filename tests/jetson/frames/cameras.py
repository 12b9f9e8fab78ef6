"""A camera on a virtual clock, and what OpenCV would open, without OpenCV."""

import queue
import threading
from types import SimpleNamespace

import numpy as np

from jetson.errors import WorkFailed
from jetson.frames.frame import Shot

IMAGE = np.full((8, 8, 1), 7, np.uint8)


class Camera:
    """A live reader that gives a frame when the test says that one has come."""

    live, count, fps, notice = True, None, 30.0, None

    def __init__(self, period_ms):
        self.period_s = period_ms / 1e3
        self.given = 0
        self.closed = False
        self.start = None
        self._asked = threading.Event()
        self._shots = queue.Queue()

    def read(self):
        self._asked.set()
        shot = self._shots.get()
        if isinstance(shot, Exception):
            raise shot
        return shot

    def close(self):
        self.closed = True

    @property
    def next_s(self):
        return self.start + self.given * self.period_s

    def give_until(self, now):
        """All frames that have come by now, each put into the inbox when this returns."""
        while self.next_s <= now + 1e-9:
            self._give(Shot(IMAGE, came=self.next_s))
            self.given += 1

    def end(self):
        self._shots.put(None)

    def lose(self):
        self._shots.put(WorkFailed("camera:0: gave no more"))

    def _give(self, shot):
        assert self._asked.wait(10)
        self._asked.clear()
        self._shots.put(shot)
        assert self._asked.wait(10)  # asked again: what was given before has been dealt with


class FakeCv2:
    """As much of `cv2` as a capture needs; its captures give `frames` and then nothing."""

    CAP_V4L2, CAP_GSTREAMER, CAP_FFMPEG = 200, 1800, 1900
    CAP_PROP_FRAME_COUNT, CAP_PROP_FPS, CAP_PROP_POS_MSEC = 7, 5, 0
    CAP_PROP_FRAME_HEIGHT, CAP_PROP_FRAME_WIDTH = 4, 3
    CAP_PROP_ORIENTATION_AUTO, CAP_PROP_ORIENTATION_META = 49, 48
    COLOR_BGR2RGB, COLOR_BGR2GRAY, COLOR_BGRA2RGB, COLOR_BGRA2GRAY = "rgb", "grey", "rgb", "grey"
    ROTATE_90_CLOCKWISE, ROTATE_180, ROTATE_90_COUNTERCLOCKWISE = -1, 2, 1
    __version__ = "4.8.0"

    class error(Exception):
        pass

    def __init__(self, frames=(), values=None, opens=True, built="GStreamer: YES (1.20.3)"):
        self.frames, self.values, self.opens, self.built = list(frames), dict(values or {}), opens, built
        self.opened, self.asked = [], []

    def getBuildInformation(self):
        return f"Video I/O:\n    {self.built}\n"

    def VideoCapture(self, *where):
        self.opened.append(where)
        left = list(self.frames)
        state = SimpleNamespace(image=None, released=False)

        def grab():
            state.image = left.pop(0) if left else None
            if isinstance(state.image, Exception):
                raise state.image
            return state.image is not None

        def put(what, value):
            self.asked.append((what, value))
            return what in self.values.get("takes", ())

        return SimpleNamespace(
            isOpened=lambda: self.opens,
            grab=grab,
            retrieve=lambda: (state.image is not None, state.image),
            get=lambda what: self.values.get(what, 0.0),
            set=put,
            release=lambda: setattr(state, "released", True),
            state=state,
        )

    def cvtColor(self, image, code):
        return image[:, :, :3].mean(axis=2).astype(np.uint8) if code == "grey" else image[:, :, 2::-1].copy()

    def rotate(self, image, turns):
        return np.rot90(image, turns)
