"""The chart of a frame log: which exit each frame left at, and how long it took against its budget.

However many frames there are, they are a few paths: a dot is a stroke without length and with round ends. What the
pointer reads of a frame is put together by `frames.js` from the columns in `frame_columns`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

from toolkit.report import svg
from toolkit.report.axes import Axis, level_axis, upright_axis
from toolkit.report.charts import NARROW, WIDE, Chart, Size, canvas, chart, group
from toolkit.report.formats import rounded, significant
from toolkit.report.frames import Frame, FrameLog
from toolkit.report.gather import Run
from toolkit.report.palette import COLOURS, Style
from toolkit.report.svg import px

MOST = 6000
"""More frames than this are thinned evenly, but for those that came late."""
TOP, PLOT, BETWEEN, LOWER, FOOT = 30.0, 300.0, 44.0, 76.0, 48.0


def frames_chart(run: Run, log: FrameLog, name: str = "fig-frames") -> Chart:
    """Budget as a line, elapsed time as dots in the colour of the exit, late and infeasible frames marked.

    Below it, where the log has it, the slowdown the scheduler believed in.
    """
    frames = shown_frames(log)
    used = log.used(tuple(run.styles))
    keys = [run.styles[exit_] for exit_, count in used.items() if count]
    told = "Time of every frame against its budget, coloured by the exit that answered"
    return chart(name, told, lambda size: _draw(frames, keys, size, told), keys)


def shown_frames(log: FrameLog) -> list[Frame]:
    """All, or so many that a page stays quick."""
    if len(log.frames) <= MOST:
        return list(log.frames)
    step = -(-len(log.frames) // MOST)
    return [f for i, f in enumerate(log.frames) if i % step == 0 or f.late]


def frame_columns(run: Run, log: FrameLog) -> dict[str, Any]:
    """What `frames.js` reads: the place of every frame in both drawings, and what is to be said of it."""
    frames = shown_frames(log)
    names = list(run.styles)
    scales = [_scales(frames, size) for size in (WIDE, NARROW)]
    return {
        "exits": names,
        "of": [names.index(f.exit_name) for f in frames],
        "at": [[[round(x.at(f.t_ms / 1000), 1), round(y.at(f.elapsed_ms), 1)] for f in frames] for x, y in scales],
        "frame": [f.frame for f in frames],
        "ms": [rounded(f.elapsed_ms, 4) for f in frames],
        "budget": [rounded(f.budget_ms, 4) for f in frames],
        "answer": [_answer(f) for f in frames],
        "late": [i for i, f in enumerate(frames) if f.late and not f.infeasible],
        "infeasible": [i for i, f in enumerate(frames) if f.infeasible],
    }


def _scales(frames: Sequence[Frame], size: Size) -> tuple[Axis, Axis]:
    times = [f.t_ms / 1000 for f in frames]
    margin = 0.01 * (max(times) - min(times)) or 0.5
    x = Axis(min(times) - margin, max(times) + margin, size.left, size.right)
    # One frame that took a hundred times as long would leave the others a line at the foot.
    highest = sorted(f.elapsed_ms for f in frames)
    budgets = [f.budget_ms for f in frames if f.budget_ms is not None]
    most = max([highest[int(0.995 * (len(highest) - 1))] * 1.15, *budgets])
    return x, Axis(0.0, min(1.05 * max(highest[-1], *budgets, 0.0), 1.1 * most), TOP + PLOT, TOP)


def _draw(frames: Sequence[Frame], styles: Sequence[Style], size: Size, told: str) -> ET.Element:
    x, y = _scales(frames, size)
    slowed = [f for f in frames if f.slowdown is not None]
    foot = TOP + PLOT + (BETWEEN + LOWER if slowed else 0.0)
    root = canvas(size, foot + FOOT, told)
    beyond = sum(f.elapsed_ms > y.high for f in frames)
    title = "time of a frame, ms" + (f" ({beyond} beyond the top)" if beyond else "")
    upright_axis(root, y, size.left, size.right, title)
    wanted = 4 if size.small else 9
    if slowed:
        high = max(f.slowdown or 0.0 for f in slowed)
        low = min(f.slowdown or 0.0 for f in slowed)
        lower = Axis(0.95 * min(low, 1.0), 1.05 * max(high, 1.0), foot, foot - LOWER)
        upright_axis(root, lower, size.left, size.right, "slowdown believed in, ×", 2)
        line = _steps(slowed, lambda f: f.slowdown, x, lower)
        level_axis(root, x, foot, foot - LOWER, "time in the run, s", wanted)
        svg.path(root, line, "thin")
    else:
        level_axis(root, x, foot, TOP, "time in the run, s", wanted)
    svg.path(group(root, "budget"), _steps(frames, lambda f: f.budget_ms, x, y), "thin budgets")
    dot = (7.0 if len(frames) <= 300 else 5.5 if len(frames) <= 1500 else 4.0) * (0.8 if size.small else 1.0)
    for style in styles:
        places = "".join(f"M{_at(f, x, y)}h0" for f in frames if f.exit_name == style.name)
        end = "round" if int(style.group.removeprefix("exit-")) < COLOURS else "square"
        looks = f"stroke:{style.colour};stroke-width:{dot:g};stroke-linecap:{end}"
        svg.path(group(root, style.group), places, "dots", looks)
    infeasible = [f for f in frames if f.infeasible]
    late = [f for f in frames if f.late and not f.infeasible]
    rings = "".join(_ring(x.at(f.t_ms / 1000), y.at(f.elapsed_ms), 0.9 * dot) for f in infeasible)
    crosses = "".join(_cross(x.at(f.t_ms / 1000), y.at(f.elapsed_ms), 0.9 * dot) for f in late)
    svg.path(group(root, "infeasible"), rings, "thin")
    svg.path(group(root, "late"), crosses, "cross")
    return root


def _ring(x: float, y: float, r: float) -> str:
    return f"M{px(x - r)} {px(y)}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0"


def _cross(x: float, y: float, r: float) -> str:
    return f"M{px(x - r)} {px(y - r)}l{2 * r:g} {2 * r:g}m0 {-2 * r:g}l{-2 * r:g} {2 * r:g}"


def _at(frame: Frame, x: Axis, y: Axis) -> str:
    return f"{px(x.at(frame.t_ms / 1000))} {px(y.at(frame.elapsed_ms))}"


def _steps(frames: Sequence[Frame], of: Callable[[Frame], float | None], x: Axis, y: Axis) -> str:
    """A line that changes at a frame, with a gap where there is no value."""
    d, before = "", None
    for frame in frames:
        value = of(frame)
        if value is not None:
            across, up = px(x.at(frame.t_ms / 1000)), px(y.at(value))
            d += f"M{across} {up}" if before is None else f"H{across}" + (f"V{up}" if up != before else "")
            before = up
        else:
            before = None
    return d


def _answer(frame: Frame) -> str:
    """The answer in words."""
    answer = frame.label if frame.label is not None else _values(frame.value)
    if not answer:
        return ""
    verdict = {True: ", right", False: ", wrong", None: ""}[frame.correct]
    sure = "" if frame.confidence is None else f", {100 * frame.confidence:.0f}% sure"
    wanted = ""
    if frame.value and isinstance(frame.target, int | float | tuple):
        goal = frame.target if isinstance(frame.target, tuple) else (float(frame.target),)
        wanted = f", in truth {_listed(goal)}"
    return f"{answer}{verdict}{sure}{wanted}"


def _values(value: tuple[float, ...] | None) -> str:
    return "value " + _listed(value) if value else ""


def _listed(value: Sequence[float]) -> str:
    return ", ".join(significant(v) for v in value[:3]) + (" …" if len(value) > 3 else "")
