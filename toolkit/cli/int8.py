"""The options that say how units are put into int8."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from toolkit.quantise import FRAMES, METHOD, Int8Settings


def int8_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --calibration, --calibration-frames, --int8-method and --max-drop.

    They are joined into `int8`, which is None when none of them is given.
    """

    @click.option(
        "--calibration",
        "int8_data",
        metavar="DATA",
        help="Frames for the ranges of int8; of a set with parts, its calibration part [default: the fit images].",
    )
    @click.option("--calibration-frames", "int8_frames", type=int, help=f"At most so many of them [default: {FRAMES}].")
    @click.option("--int8-method", help=f"minmax, percentile, entropy or mse [default: {METHOD}].")
    @click.option("--max-drop", type=float, help="What int8 may cost an exit [default: 0.01; of the error: 0.05].")
    @functools.wraps(command)
    def with_options(
        *args: Any,
        int8_data: str | None,
        int8_frames: int | None,
        int8_method: str | None,
        max_drop: float | None,
        **more: Any,
    ) -> Any:
        given: dict[str, Any] = {"data": int8_data, "frames": int8_frames, "method": int8_method, "max_drop": max_drop}
        given = {key: value for key, value in given.items() if value is not None}
        return command(*args, int8=Int8Settings(**given) if given else None, **more)

    return with_options
