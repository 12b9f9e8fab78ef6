"""What `offramp run` answers: data sets with what is right for them, and all that `jetson.frames` opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import click

from jetson.errors import BadInput, DataError
from jetson.frames.pictures import Pictures
from jetson.frames.sources import CAMERA, is_captured, open_reader, stream
from jetson.frames.stream import Reader, Stream, period_ms
from jetson.manifest import Manifest
from toolkit.cli.console import say

Fps = float | Literal["own"]


class FpsOption(click.ParamType):
    """Frames a second, or `own`: the source's rate."""

    name = "N|own"
    takes_numbers = True

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fps:
        """Read the text."""
        if str(value).lower() == "own":
            return "own"
        try:
            fps = float(value)
            period_ms(fps)
        except (ValueError, DataError):
            self.fail(f"{value!r} is no rate: give frames a second, e.g. 30, or own for the source's", param, ctx)
        return fps


@dataclass(frozen=True)
class Source:
    """Frames to answer."""

    stream: Stream
    count: int | None
    """How many there are, where that is known and there is an end."""
    judged: bool
    """Whether it is known what is right."""
    pictures: bool
    """Images, rather than a video or a camera."""

    @property
    def budget_ms(self) -> float | None:
        """Of every frame; None for no limit."""
        return self.stream.budget_ms


def open_source(
    data: str,
    manifest: Manifest,
    *,
    split: str,
    fps: Fps | None,
    budget_ms: float | None,
    traced: bool,
    every_frame: bool,
    pace: bool,
    camera_size: tuple[int, int] | None,
    repeat: bool,
) -> Source:
    """Open what `--data` names.

    Args:
        data: what it says.
        manifest: of the bundle that answers.
        split: part of a data set.
        fps: at which frames come; None: they are there when they are asked for, but for a camera's.
        budget_ms: of every frame, where `fps` does not say it.
        traced: a trace says it, frame by frame.
        every_frame: drop none.
        pace: False: they are there when they are asked for all the same.
        camera_size: height and width that a camera is asked for.
        repeat: images start over at the end.

    Raises:
        DataError: there is nothing there, or nothing that can be read.
        MissingExtra: OpenCV or Pillow is not installed.
    """
    channels, judged = manifest.preprocessing.channels, False
    reader: Reader
    if is_captured(data):
        asked = fps if fps != "own" else None
        reader = open_reader(data, fps=asked, channels=channels, size=camera_size)
    elif camera_size is not None:
        raise BadInput("--camera-size is for cameras")
    else:
        reader, judged = _pictures(data, manifest, split, repeat)
    if fps == "own":
        fps = reader.fps
        if fps is None:
            reader.close()
            raise BadInput(f"{data}: has no rate of its own; give one: --fps 30")
    if fps is not None:
        budget_ms = period_ms(fps)
        if CAMERA.fullmatch(data) and reader.fps is not None and abs(reader.fps - fps) > 0.05 * fps:
            say(f"{data} says that it gives {reader.fps:g} frames a second; the budget is still that of {fps:g}")
    made = stream(reader, fps=fps, budget_ms=budget_ms, every=every_frame, pace=pace, timed=traced)
    return Source(made, reader.count, judged, isinstance(reader, Pictures))


def _pictures(data: str, manifest: Manifest, split: str, repeat: bool) -> tuple[Pictures, bool]:
    from toolkit import data as data_sets
    from toolkit.data.images import FileImages
    from toolkit.data.names import renumbered

    part, classes = data_sets.named_frames(data, split=split)
    part = part.for_channels(manifest.preprocessing.channels)
    if len(part.images) == 0:
        raise DataError(f"{data}: no frames in it")
    targets = part.targets
    if targets is not None and classes is not None and manifest.classes is not None:
        targets = renumbered(targets, classes, manifest.classes)
    if part.targets is not None and targets is None:
        say("the data has classes that are not this bundle's: answers are not judged")
    elif targets is not None and not _fits(targets, manifest):
        targets = None
        say("the data's labels are not this bundle's task: answers are not judged")
    names = [p.name for p in part.images.paths] if isinstance(part.images, FileImages) else None
    return Pictures(part.images, names, targets, repeat), targets is not None


def _fits(targets: Any, manifest: Manifest) -> bool:
    if targets is None:
        return False
    if manifest.task == "classification":
        return bool(targets.ndim == 1 and targets.dtype.kind in "iu" and targets.max() < manifest.outputs)
    return bool(targets.ndim == 2 and targets.shape[1] == manifest.outputs)
