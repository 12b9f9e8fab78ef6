"""From a camera frame to the model's input: ours, tap by tap, with Pillow and with OpenCV.

All on one thread. Pillow and OpenCV (opencv-python-headless) are left out where they are not installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.command import one_line
from benchmarks.cost import record
from benchmarks.cost.record import Recorded
from benchmarks.paired import compare
from benchmarks.paper.tables import rows_of
from jetson.manifest import Preprocessing
from jetson.preprocessing import Preprocessor
from jetson.resize import taps_of

FRAMES = ("480x640x3", "720x1280x3", "1080x1920x3", "480x640x1", "1080x1920x1")
EDGES = (224, 56)
WAYS = {
    "taps": "tap by tap",
    "pillow": "Pillow, antialiased",
    "area": "OpenCV, area",
    "linear": "OpenCV, linear",
}
"""What ours is compared with; all but `linear` look at every source pixel."""
Way = Callable[[], object]


def main() -> None:
    parser = record.parser_for("preprocessing", __doc__)
    parser.add_argument("--frames", nargs="+", default=list(FRAMES), metavar="HxWxC", help="height, width, channels")
    parser.add_argument("--edges", type=int, nargs="+", default=list(EDGES), help="of the model's input")
    parser.add_argument("--pairs", type=int, default=40, help="of runs, for each comparison")
    options = parser.parse_args()
    rows = []
    for edge in options.edges:
        for frame in (*options.frames, f"{edge}x{edge}x3", f"{edge}x{edge}x1"):
            rows.append(measured(frame, edge, options.pairs))
            record.tell(f"{frame} to {edge}: {rows[-1]['ms']:.2f} ms")
    record.record(
        "preprocessing", options, {"rows": rows, "versions": record.versions("pillow", "opencv-python-headless")}
    )


def measured(frame: str, edge: int, pairs: int) -> dict[str, Any]:
    """One size of frame to a square of `edge` pixels: every way against ours."""
    height, width, channels = map(int, frame.split("x"))
    config = Preprocessing(height=edge, width=edge, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    prepare, out = Preprocessor(config), np.empty((channels, edge, edge), np.float32)
    prepare(image, out)
    expected = out.copy()
    found: dict[str, Any] = {"frame": frame, "edge": edge, "against": {}}
    for name, way in ways(image, config).items():
        ratio = compare(name, way, lambda: prepare(image, out), pairs)
        levels = np.abs(np.asarray(way()) - expected).max() * 255 * config.std[0]
        found["ms"] = min(found.get("ms", np.inf), ratio.base_ms)
        found["against"][name] = {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high, "levels": float(levels)}
    return found


def ways(image: np.ndarray, config: Preprocessing) -> dict[str, Way]:
    """What can be compared here, each giving channels x height x width."""
    edge, channels = (config.width, config.height), config.channels
    std = np.asarray(config.std, np.float32)[:, None, None]
    scale, shift = 1 / (255 * std), -np.asarray(config.mean, np.float32)[:, None, None] / std
    out = np.empty((channels, config.height, config.width), np.float32)

    def normalised(resized: np.ndarray) -> np.ndarray:
        np.multiply(resized.reshape(*out.shape[1:], channels).transpose(2, 0, 1), scale, out=out)
        return np.add(out, shift, out=out)

    found: dict[str, Way] = {"taps": lambda: normalised(tap_by_tap(image, config))}
    try:
        from PIL import Image
    except ImportError:
        pass
    else:
        plain = image[:, :, 0] if channels == 1 else image
        bilinear = Image.Resampling.BILINEAR
        found["pillow"] = lambda: normalised(np.asarray(Image.fromarray(plain).resize(edge, bilinear)))
    try:
        cv2: Any = importlib.import_module("cv2")
    except ImportError:
        return found
    cv2.setNumThreads(1)
    found["area"] = lambda: normalised(cv2.resize(image, edge, interpolation=cv2.INTER_AREA))
    found["linear"] = lambda: normalised(cv2.resize(image, edge, interpolation=cv2.INTER_LINEAR))
    return found


def tap_by_tap(image: np.ndarray, config: Preprocessing) -> np.ndarray:
    """The same weights, gathering whole rows and then whole columns for one tap after another."""
    if image.shape[:2] == (config.height, config.width):
        return image
    rows, weights = taps_of(image.shape[0], config.height)
    tall = np.zeros((config.height, *image.shape[1:]), np.float32)
    for tap in range(rows.shape[1]):
        tall += image[rows[:, tap]] * weights[:, tap, None, None]
    columns, weights = taps_of(image.shape[1], config.width)
    out = np.zeros((config.height, config.width, image.shape[2]), np.float32)
    for tap in range(columns.shape[1]):
        out += tall[:, columns[:, tap]] * weights[:, tap, None]
    return out


def table(recorded: Recorded) -> str:
    """A row for each frame and target: ours in milliseconds, the others in multiples of it."""
    rows = recorded.figures["rows"]
    shown = [w for w in WAYS if any(w in row["against"] for row in rows)]
    known = {"numpy": recorded.machine["numpy"], **recorded.figures["versions"]}
    versions = ", ".join(f"{k} {v}" for k, v in known.items())
    caption = (
        f"Camera frames to the model's input on one thread, {record.setting(recorded)}, {versions}. Ours in "
        f"milliseconds; the others as multiples of it, medians of {recorded.settings['pairs']} pairs with the 10 % and "
        "90 % quantiles. Each ends with the same normalisation into channels x height x width. OpenCV's linear looks "
        "at four source pixels for each of its own, however much the frame shrinks."
    )
    lines = []
    for row in rows:
        cells = [_cell(row["against"].get(w)) for w in shown]
        lines.append([row["frame"], f"{row['edge']}x{row['edge']}", f"{row['ms']:.2f}", *cells])
    return f"{caption}\n\n{rows_of(['frame', 'to', 'ours, ms', *(WAYS[w] for w in shown)], lines, words=2)}"


def _cell(found: dict[str, float] | None) -> str:
    return "" if found is None else f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


if __name__ == "__main__":
    one_line(main, "no figures were written")
