"""The cut on a phone: the segments from top to bottom, and to the right of each cut the exits that end there."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from toolkit.report import svg
from toolkit.report.diagram import diagram_told, exit_lines, exit_tip, longest_ms, measured, metric_label, unit_tip
from toolkit.report.diagram_layout import text_width
from toolkit.report.formats import milliseconds, quantity
from toolkit.report.gather import Run
from toolkit.report.svg import px

WIDTH = 360.0
SEGMENT_X, SEGMENT_WIDTH, SEGMENT_HEIGHT = 2.0, 132.0, 64.0
EXIT_X, EXIT_WIDTH, EXIT_HEIGHT = 162.0, 196.0, 64.0
TOP, GAP, STEP = 34.0, 14.0, 72.0


def narrow_diagram(run: Run) -> str:
    """Draw the run's bundle for a narrow screen, as an `<svg>` element."""
    manifest = run.manifest
    hanging = {s.name: [e for e in manifest.exits if e.units[-2] == s.name] for s in manifest.segments}
    places, y = [], TOP
    for segment in manifest.segments:
        places.append(y)
        y += SEGMENT_HEIGHT + GAP + STEP * len(hanging[segment.name])
    root = svg.picture("cut at-narrow", diagram_told(run), WIDTH, y)
    p = manifest.preprocessing
    middle = SEGMENT_X + SEGMENT_WIDTH / 2
    svg.text(root, f"frame {p.channels}×{p.height}×{p.width}", middle + 10, 16)
    svg.path(root, f"M{px(middle)} 6V{px(TOP - 2)}m-4-5l4 5l4-5", "flow")
    longest, before = longest_ms(run), 0
    for i, (segment, top) in enumerate(zip(manifest.segments, places, strict=True)):
        foot = top + SEGMENT_HEIGHT
        if i + 1 < len(places):
            svg.path(root, f"M{px(middle)} {px(foot)}V{px(places[i + 1])}", "flow")
        block = ET.SubElement(root, "g")
        ET.SubElement(block, "title").text = unit_tip(run, segment)
        _rect(block, SEGMENT_X, top, SEGMENT_WIDTH, SEGMENT_HEIGHT, "segment")
        layers = f"layers {before + 1}–{segment.layer}" if segment.layer > before + 1 else f"layer {segment.layer}"
        found = measured(run, segment)
        svg.text(block, layers, middle, top + 19, "strong", anchor="middle")
        svg.text(block, f"{quantity(segment.parameters)} parameters", middle, top + 36, anchor="middle")
        if found is not None:
            svg.text(block, milliseconds(found.host_ms.median), middle, top + 52, anchor="middle")
            _bar(block, SEGMENT_X, foot, SEGMENT_WIDTH, found.host_ms.median / longest, "var(--segment)")
        before = segment.layer
        for place, exit_ in enumerate(hanging[segment.name]):
            style, box = run.styles[exit_.name], foot + 4 + STEP * place
            svg.path(root, f"M{px(middle)} {px(foot)}V{px(box + EXIT_HEIGHT / 2)}H{px(EXIT_X)}", "flow")
            part = ET.SubElement(root, "g")
            ET.SubElement(part, "title").text = exit_tip(run, exit_)
            _rect(part, EXIT_X, box, EXIT_WIDTH, EXIT_HEIGHT, "branch", f"stroke:{style.colour}")
            sign = {"d": style.path, "transform": f"translate({px(EXIT_X + 9)} {px(box + 9)})"}
            ET.SubElement(part, "path", sign | {"style": f"fill:{style.colour}"})
            room = EXIT_WIDTH - 40
            name = exit_.name
            if text_width(name, 12, bold=True) > room:
                name = name[: int(room / text_width("x", 12, bold=True)) - 1] + "…"
            svg.text(part, name, EXIT_X + 26, box + 19, "strong")
            worth, after = exit_lines(run, exit_)
            svg.text(part, f"{metric_label(run)} {worth}", EXIT_X + 9, box + 35)
            if after:
                svg.text(part, f"after {after}", EXIT_X + 9, box + 50)
            branch = measured(run, manifest.unit(exit_.units[-1]))
            if branch is not None:
                part_of = branch.host_ms.median / longest * SEGMENT_WIDTH / EXIT_WIDTH
                _bar(part, EXIT_X, box + EXIT_HEIGHT, EXIT_WIDTH, part_of, style.colour)
    return ET.tostring(root, encoding="unicode")


def _rect(root: ET.Element, x: float, y: float, width: float, height: float, kind: str, looks: str = "") -> None:
    place = {"x": px(x), "y": px(y), "width": px(width), "height": px(height), "rx": "4", "class": kind}
    ET.SubElement(root, "rect", place | ({"style": looks} if looks else {}))


def _bar(root: ET.Element, x: float, foot: float, width: float, part: float, colour: str) -> None:
    place = {"x": px(x + 8), "y": px(foot - 6), "width": px(max(1.5, (width - 16) * part)), "height": "3", "rx": "1"}
    ET.SubElement(root, "rect", place | {"style": f"fill:{colour}"})
