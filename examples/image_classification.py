"""Classify images within budgets of your choice, and see which exit answered.

Needs a bundle and its profile, such as `make demo` leaves in runs/demo. On a device this runs without PyTorch.

    python examples/image_classification.py                        # three digits of the test part
    python examples/image_classification.py photo.jpg --bundle bundle --profile profile.json --budget-ms 8,20
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from jetson import Budget, LatencyProfile, OfframpError, Runtime
from toolkit import data

SHADES = " .:-=+*#%@"


def main() -> None:
    """Answer every image once for each budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="image files [default: three digits of scikit-learn's]")
    parser.add_argument("--bundle", type=Path, default=Path("runs/demo/bundle"))
    parser.add_argument("--profile", type=Path, default=Path("runs/demo/profile.json"))
    parser.add_argument("--budget-ms", help="comma separated [default: room for each exit twice over]")
    chosen = parser.parse_args()

    profile = LatencyProfile.load(chosen.profile)
    runtime = Runtime.load(chosen.bundle, profile)
    if chosen.budget_ms:
        budgets = [float(word) for word in chosen.budget_ms.split(",")]
    else:  # by the latency that 95 of 100 frames kept to when this machine was profiled
        budgets = [2 * exit_.end_to_end_ms.quantile(0.95) for exit_ in profile.exits]

    channels = runtime.bundle.manifest.preprocessing.channels
    sources = chosen.images or ["digits"]
    parts = [data.frames(source, split="test").for_channels(channels) for source in sources]
    images = [image for part in parts for image in part.images[: 1 if chosen.images else 3]]

    for _ in range(20):  # the first frames of a process are slower: caches are cold
        runtime.infer(images[0], Budget.within(ms=max(budgets)))
    for image in images:
        print(picture(image))
        for ms in budgets:
            answer = runtime.infer(image, Budget.within(ms=ms))
            late = "" if answer.met_deadline else "  (late)"
            sure = f"{answer.confidence:6.1%}"
            print(
                f"{ms:8.2f} ms: {answer.label:>8} {sure} {answer.exit_name:>10} after {answer.elapsed_ms:.2f} ms{late}"
            )


def picture(image: np.ndarray) -> str:
    """The image in characters, at most 32 wide; two for a pixel, since characters are narrow."""
    grey = image.mean(axis=2)
    step = -(-grey.shape[1] // 32)
    levels = (grey[::step, ::step] * (len(SHADES) - 1) / 255).round().astype(int)
    return "\n".join("".join(SHADES[level] * 2 for level in row) for row in levels)


if __name__ == "__main__":
    try:
        main()
    except OfframpError as error:
        sys.exit(f"{error}")
