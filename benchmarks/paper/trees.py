"""`python -m benchmarks.paper.trees WHEEL OUT`: hand-boxed trees on aerial photographs as a counting data set.

The wheel deepforest carries four photographs of the NEON sites with a box around every tree (Weinstein et al.; Pascal
VOC files). They are cut into square tiles; a tile's target is the number of boxes whose centre lies in it. The parts
are made of whole photographs, so no tree and no piece of forest is in two of them. OUT becomes a folder that
`offramp train --data OUT` reads. Get the wheel with: pip download --no-deps deepforest==2.1.0
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from benchmarks.command import one_line
from jetson.errors import BadInput
from jetson.files import new_folder, storage

FOLDER = "deepforest/data/"
TILE = 160
PARTS = {
    "train": (("2019_YELL_2_528000_4978000_image_crop2", "SOAP_061"), 64),
    "calibration": (("OSBS_029",), 40),
    "test": (("2019_YELL_2_541000_4977000_image_crop",), 80),
}
"""Of each part its photographs and the step from tile to tile in pixels: tiles overlap."""


def make(wheel: Path, out: Path) -> dict[str, list[int]]:
    """Cut the photographs in `wheel` into tiles below `out`.

    Returns:
        The targets of each part.

    Raises:
        BadInput: not the wheel that carries the photographs, boxes outside their photograph, or `out` is there.
        StorageError: `out` cannot be written.
    """
    if out.exists():
        raise BadInput(f"{out}: there already; name a new folder")
    with storage(wheel, "read"), new_folder(out) as folder:
        try:
            with zipfile.ZipFile(wheel) as archive:
                return {part: _part(archive, names, step, folder / part) for part, (names, step) in PARTS.items()}
        except (zipfile.BadZipFile, KeyError, ValueError, ElementTree.ParseError) as error:
            raise BadInput(f"{wheel}: not the wheel of deepforest 2.1.0 ({error})") from None


def _part(archive: zipfile.ZipFile, names: tuple[str, ...], step: int, folder: Path) -> list[int]:
    from PIL import Image

    folder.mkdir()
    rows: list[tuple[str, int]] = []
    for name in names:
        with Image.open(io.BytesIO(archive.read(f"{FOLDER}{name}.png"))) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        centres = centres_of(archive.read(f"{FOLDER}{name}.xml"), pixels.shape[:2], name)
        for y, x, count in tiles(pixels.shape[:2], centres, step):
            file = f"{name}-{y:04}-{x:04}.png"
            Image.fromarray(pixels[y : y + TILE, x : x + TILE]).save(folder / file)
            rows.append((file, count))
    with (folder / "targets.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "trees"), *rows])
    return [count for _, count in rows]


def centres_of(xml: bytes, size: tuple[int, ...], name: str) -> np.ndarray:
    """The middle (y, x) of every box of a Pascal VOC file, in pixels of a photograph of `size` (height, width)."""
    root = ElementTree.fromstring(xml)
    boxes = [[float(box.findtext(k) or "nan") for k in ("ymin", "xmin", "ymax", "xmax")] for box in root.iter("bndbox")]
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 2, 2)
    if not len(corners) or not (np.isfinite(corners).all() and (corners.max(axis=(0, 1)) <= np.array(size)).all()):
        raise BadInput(f"{name}: no boxes, or boxes outside the photograph")
    return corners.mean(axis=1)


def tiles(size: tuple[int, ...], centres: np.ndarray, step: int) -> list[tuple[int, int, int]]:
    """Top, left and number of centres of every whole tile."""
    found = []
    for y in range(0, size[0] - TILE + 1, step):
        for x in range(0, size[1] - TILE + 1, step):
            inside = ((centres >= (y, x)) & (centres < (y + TILE, x + TILE))).all(axis=1)
            found.append((y, x, int(inside.sum())))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.trees", description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    found = make(options.wheel, options.out)
    for part, counts in found.items():
        print(
            f"{part}: {len(counts)} tiles with {min(counts)} to {max(counts)} trees, {np.mean(counts):.2f} on average"
        )
    print(f"-> {options.out}")


if __name__ == "__main__":
    one_line(main)
