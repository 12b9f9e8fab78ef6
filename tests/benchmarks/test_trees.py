"""Photographs with boxed trees become tiles with counts."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from benchmarks.paper import trees
from jetson.errors import BadInput
from toolkit import data

SIZE = 240


def wheel(path, boxes=((0, 0, 20, 20), (100, 100, 140, 160), (150, 150, 170, 170)), leave_out="", size=SIZE):
    names = [name for photographs, _ in trees.PARTS.values() for name in photographs if name != leave_out]
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), dtype=np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            archive.writestr(f"deepforest/data/{name}.png", stream.getvalue())
            found = "".join(
                f"<object><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
                for a, b, c, d in boxes
            )
            archive.writestr(f"deepforest/data/{name}.xml", f"<annotation>{found}</annotation>")
    return path


def test_tiles_count_the_boxes_whose_centre_they_hold(tmp_path):
    found = trees.make(wheel(tmp_path / "w.whl"), tmp_path / "trees")
    # Centres (10, 10), (120, 130), (160, 160) as x, y; tiles of 160 px start at 0 and 80 in the test part.
    assert found["test"] == [2, 1, 1, 2]
    read = data.load(str(tmp_path / "trees"))
    assert read.task == "regression" and read.test.targets[:, 0].tolist() == [2, 1, 1, 2]
    assert read.test.images[0].shape == (trees.TILE, trees.TILE, 3)


def test_no_photograph_is_in_two_parts():
    names = [name for photographs, _ in trees.PARTS.values() for name in photographs]
    assert len(names) == len(set(names)) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"leave_out": "OSBS_029"}, "not the wheel of deepforest"),
        ({"boxes": ()}, "no boxes"),
        ({"boxes": ((0, 0, 20, 241),)}, "outside the photograph"),
        ({"boxes": ((0, 0, 20, "x"),)}, "not the wheel of deepforest"),
    ],
)
def test_another_wheel_is_refused_and_nothing_is_left(tmp_path, change, words):
    with pytest.raises(BadInput, match=words):
        trees.make(wheel(tmp_path / "w.whl", **change), tmp_path / "trees")
    assert [p.name for p in tmp_path.iterdir()] == ["w.whl"]


def test_what_is_there_is_not_replaced(tmp_path):
    (tmp_path / "trees").mkdir()
    with pytest.raises(BadInput, match="there already"):
        trees.make(wheel(tmp_path / "w.whl"), tmp_path / "trees")
