"""The cut as a picture: the segments, and what hangs from them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from jetson.manifest import Exit, Unit
from jetson.profiling.profile import UnitLatency
from toolkit.report import svg
from toolkit.report.diagram_layout import GAP, LEFT, MARK, PADDING, Box, Group, plan, text_width
from toolkit.report.formats import metric_name, milliseconds, quality, quantity
from toolkit.report.gather import Run
from toolkit.report.svg import px

ROWS = (20, 38, 54, 70)
"""Baselines of a block's four lines, from its top."""


def cut_diagram(run: Run) -> str:
    """Draw the run's bundle.

    Returns:
        An `<svg>` element. Its colours are the page's custom properties, so it follows light and dark by itself.
    """
    places = plan(run)
    manifest = run.manifest
    told = diagram_told(run)
    root = svg.picture("cut at-wide", told, places.width, places.height)
    _frame(root, run, places.segments[0])
    for label, row in zip(("layers", "parameters", "FLOPs", "time" if run.profiles else ""), ROWS, strict=True):
        svg.text(root, label, LEFT - 10, places.segments[0].y + row, "row", anchor="end")
    longest = longest_ms(run)
    boxes = [*places.segments, *(box for g in places.groups for column in g.columns for _, box in column)]
    scale = (min(b.width for b in boxes) - 2 * PADDING) / longest
    before = 0
    for index, (segment, box) in enumerate(zip(manifest.segments, places.segments, strict=True)):
        if index:
            svg.path(root, f"M{px(box.x)} {px(box.y + box.height / 2)}h-{GAP}", "flow")
        _segment(root, run, segment, before + 1, box, scale)
        before = segment.layer
    for group in places.groups:
        _lines(root, group, places.segments[0])
        for column in group.columns:
            for index, box in column:
                _branch(root, run, manifest.exits[index], box, scale)
    column = places.groups[0].columns[0]
    first = column[0][1]
    label_end = first.x - (16 if len(column) > 1 else 10)
    labels = ("exit", "branch", metric_label(run), "answer after" if run.profiles else "")
    for label, row in zip(labels, ROWS, strict=True):
        svg.text(root, label, label_end, first.y + row, "row", anchor="end")
    return ET.tostring(root, encoding="unicode")


def diagram_told(run: Run) -> str:
    """The picture in a sentence."""
    return f"{len(run.manifest.segments)} segments and {len(run.manifest.exits)} exits, listed in the tables"


def longest_ms(run: Run) -> float:
    """Of the units' medians; 1 where nothing was measured."""
    return max((u.host_ms.median for u in run.profile.units.values()), default=1.0) or 1.0 if run.profiles else 1.0


def metric_label(run: Run) -> str:
    """The name of the exits' quality, short."""
    metric = run.manifest.exits[0].quality[0].metric
    return "mean error" if metric == "mean_absolute_error" else metric_name(metric)


def measured(run: Run, unit: Unit) -> UnitLatency | None:
    """What the first profile knows of a unit."""
    return run.profile.units[unit.name] if run.profiles else None


def unit_tip(run: Run, unit: Unit) -> str:
    """What the pointer reads over a block."""
    found = measured(run, unit)
    lines = [f"{unit.name}", f"{unit.parameters:,} parameters, {quantity(unit.flops, 'FLOPs')}"]
    if found is not None:
        lines.append(f"median {milliseconds(found.host_ms.median)} in {found.precision}")
    if unit.fused is not None:
        lines.append(f"fused into {unit.fused}")
    return "\n".join(lines)


def exit_lines(run: Run, exit_: Exit) -> tuple[str, str]:
    """What an exit is worth, and when its answer is there."""
    worth = run.shown_quality(exit_)
    after = milliseconds(run.exit_latency(exit_).end_to_end_ms.median) if run.profiles else ""
    return quality(worth.value, worth.metric), after


def exit_tip(run: Run, exit_: Exit) -> str:
    """What the pointer reads over an exit."""
    worth, after = exit_lines(run, exit_)
    lines = [f"exit {exit_.name}: {exit_.architecture} after layer {exit_.layer}"]
    lines.append(f"{metric_label(run)} {worth}, {run.shown_split} split" + (f"; answer after {after}" if after else ""))
    return "\n".join([*lines, unit_tip(run, run.manifest.unit(exit_.units[-1]))])


def _segment(root: ET.Element, run: Run, unit: Unit, first: int, box: Box, scale: float) -> None:
    block = _block(root, box, "segment", unit_tip(run, unit))
    layers = f"{first}–{unit.layer}" if unit.layer > first else str(unit.layer)
    found = measured(run, unit)
    median = "" if found is None else milliseconds(found.host_ms.median)
    lines = (layers, quantity(unit.parameters), quantity(unit.flops), median)
    for text, row, kind in zip(lines, ROWS, ("strong", "", "", ""), strict=True):
        svg.text(block, text, box.middle, box.y + row, kind, anchor="middle")
    if found is not None:
        _bar(block, box, found.host_ms.median * scale, "var(--segment)")


def _branch(root: ET.Element, run: Run, exit_: Exit, box: Box, scale: float) -> None:
    style, unit = run.styles[exit_.name], run.manifest.unit(exit_.units[-1])
    block = _block(root, box, "branch", exit_tip(run, exit_), style.colour)
    mark = {"d": style.path, "transform": f"translate({px(box.x + PADDING)} {px(box.y + 10)})"}
    ET.SubElement(block, "path", mark | {"style": f"fill:{style.colour}"})
    x, room = box.x + PADDING, box.width - 2 * PADDING
    svg.text(block, _cut(exit_.name, room - MARK, bold=True), x + MARK, box.y + ROWS[0], "strong")
    lines = (_cut(exit_.architecture, room), *exit_lines(run, exit_))
    for text, row in zip(lines, ROWS[1:], strict=True):
        svg.text(block, text, x, box.y + row, "")
    found = measured(run, unit)
    if found is not None:
        _bar(block, box, found.host_ms.median * scale, style.colour)


def _frame(root: ET.Element, run: Run, box: Box) -> None:
    """The frame that goes into the first segment."""
    p = run.manifest.preprocessing
    text = f"frame {p.channels}×{p.height}×{p.width}"
    svg.text(root, text, box.x + 10, 16, "")
    x = box.x + 24
    svg.path(root, f"M{px(x)} 22V{px(box.y - 2)}m-4-5l4 5l4-5", "flow")


def _lines(root: ET.Element, group: Group, segment: Box) -> None:
    """From the cut down, across to every column, and into every block of it."""
    foot = segment.y + segment.height / 2
    steps = [f"M{px(group.cut - GAP / 2)} {px(foot)}H{px(group.cut)}V{px(group.bus)}"]
    for column in group.columns:
        boxes = [box for _, box in column]
        if len(boxes) == 1:
            steps.append(f"M{px(group.cut)} {px(group.bus)}H{px(boxes[0].middle)}V{px(boxes[0].y)}")
            continue
        side = boxes[0].x - 8
        last = boxes[-1].y + boxes[-1].height / 2
        steps.append(f"M{px(group.cut)} {px(group.bus)}H{px(side)}V{px(last)}")
        steps += [f"M{px(side)} {px(b.y + b.height / 2)}H{px(b.x)}" for b in boxes]
    svg.path(root, "".join(steps), "flow")
    ET.SubElement(root, "circle", {"class": "joint", "cx": px(group.cut), "cy": px(foot), "r": "3"})


def _block(root: ET.Element, box: Box, kind: str, told: str, stroke: str = "") -> ET.Element:
    group = ET.SubElement(root, "g")
    ET.SubElement(group, "title").text = told
    place = {"x": px(box.x), "y": px(box.y), "width": px(box.width), "height": px(box.height), "rx": "4"}
    ET.SubElement(group, "rect", {"class": kind} | place | ({"style": f"stroke:{stroke}"} if stroke else {}))
    return group


def _bar(block: ET.Element, box: Box, length: float, colour: str) -> None:
    place = {"x": px(box.x + PADDING), "y": px(box.y + box.height - 8), "height": "4", "rx": "1"}
    ET.SubElement(block, "rect", place | {"width": px(max(1.5, length)), "style": f"fill:{colour}"})


def _cut(text: str, room: float, bold: bool = False) -> str:
    """`text`, shortened to `room` pixels; the block's tooltip has the whole."""
    if text_width(text, 12, bold) <= room + 0.1:
        return text
    return text[: max(1, int(room / text_width("x", 12, bold)) - 1)] + "…"
