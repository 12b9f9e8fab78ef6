"""The chart of training.json: the loss of every exit, epoch by epoch, through the phases of the strategy."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from toolkit.report import svg
from toolkit.report.axes import Axis, level_axis, upright_axis
from toolkit.report.charts import Chart, Size, canvas, chart, group
from toolkit.report.formats import significant
from toolkit.report.gather import Run
from toolkit.report.history import History
from toolkit.report.palette import INK, Style
from toolkit.report.svg import px

TOP, HEIGHT, FOOT = 48.0, 370.0, 48.0
DASHES = {"solid": "", "dash": "6 4", "dot": "2 3", "dashdot": "7 3 2 3"}
LETTER = 6.6


def history_chart(run: Run, history: History) -> Chart | None:
    """The loss of each exit against the epochs counted through all phases; None when no loss was recorded."""
    epochs = history.history
    lines: list[tuple[str, str, str, str, list[float | None]]] = []
    keys: list[Style] = []
    for style in run.styles.values():
        losses = [e.exit_loss(style.name) for e in epochs]
        if any(v is not None for v in losses):
            keys.append(style)
            lines.append((style.name, style.group, style.colour, style.dash, losses))
    lines.append(("total loss", "total", INK, "solid", [e.loss for e in epochs]))
    if not any(v is not None for line in lines for v in line[-1]):
        return None
    told = "Loss of each exit over the epochs of training"
    return chart("fig-history", told, lambda size: _draw(history, lines, size, told), keys)


def _draw(
    history: History, lines: list[tuple[str, str, str, str, list[float | None]]], size: Size, told: str
) -> ET.Element:
    epochs = history.history
    starts = [i for i, e in enumerate(epochs) if i == 0 or e.phase != epochs[i - 1].phase]
    root = canvas(size, HEIGHT, told)
    most = max(v for line in lines for v in line[-1] if v is not None)
    x = Axis(0.5, len(epochs) + 0.5, size.left, size.right)
    y = Axis(0.0, 1.05 * most or 1.0, HEIGHT - FOOT, TOP)
    ticks = [t for t in x.ticks(5 if size.small else 10) if t == round(t)]
    level_axis(root, x, y.start, y.end, "epoch, counted through all phases", ticks=ticks)
    upright_axis(root, y, size.left, size.right, "")
    svg.text(root, "loss on the training data", 2, 14, "row")
    _phases(root, history, starts, x, y)
    for name, of, colour, dash, losses in lines:
        part = group(root, of)
        d, pen = "", False
        for i, loss in enumerate(losses):
            if loss is None or i in starts:  # the loss before and after is not the same loss
                pen = False
            if loss is not None:
                d += f"{'L' if pen else 'M'}{px(x.at(i + 1))} {px(y.at(loss))}"
                pen = True
        looks = f"stroke:{colour}" + (f";stroke-dasharray:{DASHES[dash]}" if DASHES[dash] else "")
        svg.path(part, d, "curve", looks + (";stroke-width:1.2" if of == "total" else ""))
        for i, loss in enumerate(losses):
            if loss is not None:
                dot = group(part, tip=f"{name}\nepoch {i + 1}, loss {significant(loss, 4)}")
                place = {"cx": px(x.at(i + 1)), "cy": px(y.at(loss)), "r": "3"}
                ET.SubElement(dot, "circle", place | {"style": f"fill:{colour}"})
    return root


def _phases(root: ET.Element, history: History, starts: list[int], x: Axis, y: Axis) -> None:
    """A line where each phase begins, and its name where it has room."""
    ends = [*starts[1:], len(history.history)]
    for start, end in zip(starts, ends, strict=True):
        left = x.at(start + 0.5)
        if start:
            svg.path(root, f"M{px(left)} {px(y.end - 18)}V{px(y.start)}", "axis")
        name = history.history[start].phase or ""
        room = int((x.at(end + 0.5) - left - 6) / LETTER)
        if len(name) > room:
            name = name[: max(0, room - 1)] + "…" if room > 3 else ""
        svg.text(root, name, left + 4, y.end - 8, "row strong")
