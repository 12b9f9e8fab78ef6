"""A loop at 30 frames a second: each frame is answered in the time that the rest of the program leaves over.

Needs a bundle and its profile, such as `make demo` leaves in runs/demo, and nothing but `jetson`. The camera is made up
(noise that moves) unless --camera gives a number, which takes OpenCV. What else your program does with a frame is
played by sleeping: what it leaves of the time swings. Put your own code in its place.

A profile is measured frame upon frame. Between frames that come one by one the caches cool down and the processor naps,
so a small model may take several times as long here: that is the `slowdown`, and the planner reckons with it.

    python examples/fps_loop.py --seconds 5
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jetson import Budget, LatencyProfile, OfframpError, Runtime
from jetson import frames as sources


def main() -> None:
    """Answer frames until the time is over; a line for every second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("runs/demo/bundle"))
    parser.add_argument("--profile", type=Path, default=Path("runs/demo/profile.json"))
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--camera", type=int, help="number of a camera, for OpenCV [default: a made-up one]")
    chosen = parser.parse_args()

    profile = LatencyProfile.load(chosen.profile)
    runtime = Runtime.load(chosen.bundle, profile)
    shape = runtime.bundle.manifest.preprocessing
    frames = made_up(*profile.frame, shape.channels) if chosen.camera is None else camera(chosen.camera)
    quickest, deepest = profile.exits[0].end_to_end_ms.median, profile.exits[-1].end_to_end_ms.median
    period = 1.0 / chosen.fps
    most = min(40 * deepest / 1e3, 0.9 * period)
    least = min(10 * quickest / 1e3, most / 4)

    answered: Counter[str] = Counter()
    late = missed = 0
    tick = time.monotonic()
    second, end = tick + 1.0, tick + chosen.seconds
    print(f"{'':9}answered by                                     late  missed  slowdown")
    for number, frame in enumerate(frames):
        due = tick + period  # when the next frame comes, this one must be done
        swing = (1 - math.cos(2 * math.pi * number / 45)) / 2
        left = least ** (1 - swing) * most**swing
        your_own_code(due - left)

        answer = runtime.infer(frame, Budget.until(due))
        answered[answer.exit_name] += 1
        late += answer.met_deadline is False

        now = time.monotonic()
        if now >= second:
            said = "  ".join(f"{name} {answered[name]:>3}" for name in (e.name for e in profile.exits))
            print(
                f"{sum(answered.values()):3} fps  {said:<46} {late:>5}  {missed:>6}  {answer.slowdown:8.2f}", flush=True
            )
            answered, late, missed, second = Counter(), 0, 0, second + 1.0
        if now >= end:
            break
        # Of the frames that came meanwhile the newest is taken, and those before it are lost.
        behind = max(0, int((now - due) // period))
        missed += behind
        tick = due + behind * period
        time.sleep(max(0.0, tick - time.monotonic()))
    if runtime.notice:
        print(runtime.notice)


def made_up(height: int, width: int, channels: int) -> Iterator[np.ndarray]:
    """Frames of the size that was profiled, as a camera's driver would hand them over: the same array, filled anew."""
    canvas = np.random.default_rng(0).integers(0, 256, (height, 2 * width, channels), np.uint8)
    frame = np.empty((height, width, channels), np.uint8)
    for number in itertools.count():
        at = number % width
        frame[:] = canvas[:, at : at + width]
        yield frame


def camera(number: int) -> Iterator[np.ndarray]:
    """The newest frame of a camera whenever one is asked for; those that came meanwhile are dropped."""
    with sources.open(f"camera:{number}") as source:
        for frame in source:
            yield frame.image


def your_own_code(until: float) -> None:
    """What your program does before the frame is looked at."""
    time.sleep(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    try:
        main()
    except OfframpError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit(130)
