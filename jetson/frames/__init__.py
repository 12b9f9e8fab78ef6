"""Frames one after another: of an image file, a folder, a video file or a camera.

    from jetson import Runtime, frames

    runtime = Runtime.load("bundle", "profile.json")
    with frames.open("camera:0", fps=30) as source:
        for frame in source:
            answer = runtime.infer(frame.image, frame.budget)

Frames come in a thread of their own. Of those that came while the device was busy only the newest is given, and its
budget has been running since it came; `every_frame` gives all of them.
"""

from jetson.frames.frame import Frame, Shot
from jetson.frames.sources import open_frames as open
from jetson.frames.sources import open_reader
from jetson.frames.stream import Reader, Stream, Unreadable

__all__ = ["Frame", "Reader", "Shot", "Stream", "Unreadable", "open", "open_reader"]
