import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from toolkit.report.diagram import cut_diagram
from toolkit.report.diagram_layout import TARGET, plan
from toolkit.report.gather import gather

BRANCHES = ("mlp", "cnn-ignore", "cnn-add", "cnn-project", "vit", "mlp-mixer", "resmlp")
TWELVE = tuple(range(1, 13))
EVERYWHERE = (*((layer, BRANCHES[layer % 7]) for layer in range(1, 12)), (12, "head"))
RECIPES = {
    "three": {},
    "one": {"layers": (12,), "exits": ((12, "head"),)},
    "seven behind one layer": {"layers": (6, 12), "exits": (*((6, b) for b in BRANCHES), (12, "head"))},
    "twelve segments": {"layers": TWELVE, "exits": EVERYWHERE},
    "twelve segments, a stack": {
        "layers": TWELVE,
        "exits": (*sorted((*EVERYWHERE[:-1], (6, "cnn-add"), (6, "vit"))), (12, "head")),
    },
    "a stack on each": {"layers": (3, 6, 9, 12), "exits": tuple((n, b) for n in (3, 6, 9, 12) for b in BRANCHES[:4])},
    "no exit between": {"layers": (2, 4, 6, 12), "exits": ((6, "mlp"), (12, "head"))},
}


@pytest.fixture(params=RECIPES.values(), ids=RECIPES.keys())
def run(request, make_run):
    return gather(make_run(frames=None, history=False, **request.param))


def blocks(geometry):
    return [*geometry.segments, *(box for group in geometry.groups for column in group.columns for _, box in column)]


def test_no_two_blocks_meet_and_all_are_inside(run):
    geometry = plan(run)
    for box in blocks(geometry):
        assert box.x >= 0
        assert box.x + box.width <= geometry.width
        assert box.y + box.height <= geometry.height
    for a, b in itertools.combinations(blocks(geometry), 2):
        apart = a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
        assert apart


def test_every_segment_and_exit_is_placed_once(run):
    geometry = plan(run)
    assert len(geometry.segments) == len(run.manifest.segments)
    placed = [index for group in geometry.groups for column in group.columns for index, _ in column]
    assert sorted(placed) == list(range(len(run.manifest.exits)))


def test_no_line_crosses_a_block(run):
    geometry = plan(run)
    for line in lines(ET.fromstring(cut_diagram(run))):
        for box in blocks(geometry):
            assert not crosses(line, box), (line, box)


def test_twelve_segments_keep_the_width(make_run):
    run = gather(make_run(frames=None, history=False, **RECIPES["twelve segments"]))
    assert plan(run).width <= TARGET + 10


def test_names_are_escaped_and_long_ones_shortened(make_run):
    hostile = "<script>alert(1)</script>" * 2
    run = gather(make_run(frames=None, history=False, exits=((4, hostile), (12, "head"))))
    svg = cut_diagram(run)
    assert "<script" not in svg
    texts = [e.text or "" for e in ET.fromstring(svg).iter("text")]
    assert any(t.startswith("<script>") and t.endswith("…") for t in texts)
    assert any(hostile in (e.text or "") for e in ET.fromstring(svg).iter("title"))


def lines(root):
    """Every straight piece of the connecting lines."""
    for path in root.iter("path"):
        if path.get("class") != "flow":
            continue
        x = y = 0.0
        for command, numbers in re.findall(r"([MHVhl])([^MHVhlm]*)", path.get("d").partition("m")[0]):
            values = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", numbers)]
            before = (x, y)
            if command == "M":
                x, y = values
                continue
            x = values[0] if command == "H" else x + values[0] if command == "h" else x
            y = values[0] if command == "V" else y
            yield (*before, x, y)


def crosses(line, box):
    left, right = sorted((line[0], line[2]))
    top, bottom = sorted((line[1], line[3]))
    slack = 0.2
    across = right > box.x + slack and left < box.x + box.width - slack
    down = bottom > box.y + slack and top < box.y + box.height - slack
    return across and down
