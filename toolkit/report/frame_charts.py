"""Two charts of the frame log: which exit each frame left at under its budget, and how often each exit was used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toolkit.report.charts import Chart, Trace, axis, layout
from toolkit.report.formats import milliseconds, plain, rounded, share, significant
from toolkit.report.frames import Frame, FrameLog
from toolkit.report.gather import Run
from toolkit.report.palette import INK, MUTED, Style

SVG_POINTS = 3000
"""More frames than this are drawn with WebGL: as SVG elements they would make the page slow."""


def frames_chart(run: Run, log: FrameLog) -> Chart:
    """Budget as a line, elapsed time as dots in the colour of the exit, late and infeasible frames marked.

    Below it, where the log has it, the slowdown the scheduler believed in.
    """
    frames = log.frames
    kind = "scattergl" if len(frames) > SVG_POINTS else "scatter"
    size = 7 if len(frames) <= 300 else 5.5 if len(frames) <= 1500 else 4
    used = [run.styles[name] for name, count in log.used(tuple(run.styles)).items() if count]
    data = [_line(frames, lambda f: f.budget_ms, kind, "budget", MUTED)]
    data += [_dots([f for f in frames if f.exit_name == style.name], style, kind, size) for style in used]
    data += _marks(frames, kind, size)
    slowed = [f for f in frames if f.slowdown is not None]
    panels: dict[str, Any] = {"yaxis": axis("elapsed time (ms)", rangemode="tozero")}
    if slowed:
        data.append(_line(slowed, lambda f: f.slowdown, kind, "slowdown", MUTED) | {"yaxis": "y2"})
        panels["yaxis"]["domain"] = [0.3, 1]
        panels["yaxis2"] = axis("slowdown (×)", domain=[0, 0.19], nticks=4)
    times = [f.t_ms / 1000 for f in frames]
    margin = 0.015 * (max(times) - min(times)) or 0.5
    ends = [rounded(min(times) - margin), rounded(max(times) + margin)]
    panels["xaxis"] = axis("time in the run (s)", range=ends, anchor="y2" if slowed else "y")
    return Chart("fig-frames", data, layout(540 if slowed else 420, **panels), keys=used)


def used_chart(run: Run, log: FrameLog) -> Chart:
    """How many frames left at each exit."""
    counts = log.used(tuple(run.styles))
    total = max(1, sum(counts.values()))
    places = list(range(len(counts)))
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "name": "frames",
        "x": list(counts.values()),
        "y": places,
        "width": 0.66,
        "marker": {"color": [run.styles[name].colour for name in counts], "line": {"width": 0}},
        "text": [f"{count:,} ({share(count / total)})" for count in counts.values()],
        "textposition": "outside",
        "textfont": {"color": INK},
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    names = {"tickmode": "array", "tickvals": places, "ticktext": [plain(name) for name in counts]}
    return Chart(
        "fig-used",
        [bars],
        layout(
            76 + 28 * len(counts),
            margin={"l": 56, "r": 96, "t": 8, "b": 48},
            xaxis=axis("frames", rangemode="tozero"),
            yaxis=axis("", range=[len(counts) - 0.4, -0.6], showgrid=False, ticks="", **names),
        ),
        narrow={"xaxis": {"nticks": 4}},
    )


def _x(frames: Sequence[Frame]) -> list[float | None]:
    return [rounded(f.t_ms / 1000) for f in frames]


def _line(frames: Sequence[Frame], of: Callable[[Frame], float | None], kind: str, name: str, colour: str) -> Trace:
    return {
        "type": kind,
        "mode": "lines",
        "name": name,
        "legendgroup": name,
        "x": _x(frames),
        "y": [rounded(of(f), 5) for f in frames],
        "line": {"color": colour, "width": 1.2, "shape": "hv"},
        "hovertemplate": f"{name} %{{y:.4~g}}<extra></extra>",
    }


def _dots(frames: Sequence[Frame], style: Style, kind: str, size: float) -> Trace:
    return {
        "type": kind,
        "mode": "markers",
        "name": plain(style.name),
        "legendgroup": style.group,
        "x": _x(frames),
        "y": [rounded(f.elapsed_ms, 5) for f in frames],
        "marker": {"color": style.colour, "symbol": style.symbol, "size": size},
        "text": [_told(f) for f in frames],
        "hovertemplate": "<b>%{fullData.name}</b>, %{text}<extra></extra>",
    }


def _marks(frames: Sequence[Frame], kind: str, size: float) -> list[Trace]:
    """A quiet ring around the frames whose budget no exit could meet, a cross over the others that came late."""
    marks = []
    for name, symbol, chosen, colour, width in (
        ("infeasible", "circle-open", [f for f in frames if f.infeasible], MUTED, 1.2),
        ("late", "x-thin-open", [f for f in frames if f.late and not f.infeasible], INK, 2.2),
    ):
        if chosen:
            line = {"width": width if size > 5 else 0.7 * width, "color": colour}
            marks.append(
                {
                    "type": kind,
                    "mode": "markers",
                    "name": name,
                    "legendgroup": name,
                    "x": _x(chosen),
                    "y": [rounded(f.elapsed_ms, 5) for f in chosen],
                    "marker": {"symbol": symbol, "size": 1.8 * size, "color": colour, "line": line},
                    "hoverinfo": "skip",
                }
            )
    return marks


def _told(frame: Frame) -> str:
    """One frame in words, for the pointer."""
    budget = "no budget" if frame.budget_ms is None else f"budget {milliseconds(frame.budget_ms)}"
    lines = [f"frame {frame.frame}", f"{milliseconds(frame.elapsed_ms)}, {budget}"]
    answer = frame.label if frame.label is not None else _values(frame.value)
    if answer:
        verdict = {True: ", correct", False: ", wrong", None: ""}[frame.correct]
        sure = "" if frame.confidence is None else f", confidence {significant(frame.confidence, 2)}"
        lines.append(f"{plain(answer)}{verdict}{sure}")
    flags = [name for name, holds in (("late", frame.late), ("infeasible budget", frame.infeasible)) if holds]
    return "<br>".join([*lines, *([", ".join(flags)] if flags else [])])


def _values(value: tuple[float, ...] | None) -> str:
    if not value:
        return ""
    return "value " + ", ".join(significant(v) for v in value[:3]) + (" …" if len(value) > 3 else "")
