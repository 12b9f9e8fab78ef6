"""The chart of training.json: the loss of every exit, epoch by epoch, through the phases of the strategy."""

from __future__ import annotations

import itertools
from typing import Any

from toolkit.report.charts import Chart, Trace, axis, layout
from toolkit.report.formats import plain, rounded
from toolkit.report.gather import Run
from toolkit.report.history import History
from toolkit.report.palette import INK, MUTED, Style

ROOM = 4
"""More phases than this have their names written upright, or the names would run into each other."""


def history_chart(run: Run, history: History) -> Chart | None:
    """The loss of each exit against the epochs counted through all phases; None when no loss was recorded."""
    epochs = history.history
    x = list(range(1, len(epochs) + 1))
    starts = [i for i, e in enumerate(epochs) if i == 0 or e.phase != epochs[i - 1].phase]
    data = [_line(x, [e.loss for e in epochs], "total loss", INK, "solid", starts)]
    keys: list[Style] = []
    for style in run.styles.values():
        losses = [e.exit_loss(style.name) for e in epochs]
        if any(v is not None for v in losses):
            keys.append(style)
            data.append(_line(x, losses, style.name, style.colour, style.dash, starts, style))
    if not any(v is not None for trace in data for v in trace["y"]):
        return None
    shapes, annotations = _phases(history, starts)
    time = axis("epoch, counted through all phases", range=[0.5, len(x) + 0.5], tickformat="d")
    if len(x) <= 10:
        time["dtick"] = 1
    return Chart(
        name="fig-history",
        data=data,
        layout=layout(
            400,
            margin={"l": 56, "r": 16, "t": 28, "b": 48},
            xaxis=time,
            yaxis=axis("loss on the training data", rangemode="tozero"),
            shapes=shapes,
            annotations=annotations,
        ),
        keys=keys,
    )


def _line(
    x: list[int],
    y: list[float | None],
    name: str,
    colour: str,
    dash: str,
    starts: list[int],
    style: Style | None = None,
) -> Trace:
    # A gap before each phase: the loss before and after it is not the same loss.
    ends = [*starts[1:], len(x)]
    parts = [(x[a:b], y[a:b]) for a, b in zip(starts, ends, strict=True)]
    xs: list[Any] = list(itertools.chain.from_iterable([*px, None] for px, _ in parts))[:-1]
    ys: list[Any] = list(itertools.chain.from_iterable([*map(rounded, py), None] for _, py in parts))[:-1]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(name),
        "legendgroup": style.group if style else "total",
        "x": xs,
        "y": ys,
        "line": {"color": colour, "dash": dash, "width": 2 if style else 1.2},
        "marker": {"color": colour, "symbol": style.symbol if style else "circle", "size": 6 if style else 4},
        "hovertemplate": "<b>%{fullData.name}</b><br>epoch %{x}, loss %{y:.4~g}<extra></extra>",
    }


def _phases(history: History, starts: list[int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line where each phase begins, and its name."""
    upright = len(starts) > ROOM
    shapes, names = [], []
    for start in starts:
        if start:
            line = {"color": "var(--line)", "width": 1}
            shapes.append(
                {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": start + 0.5, "x1": start + 0.5, "line": line}
            )
        names.append(
            {
                "x": start + 0.5,
                "y": 1,
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "top" if upright else "bottom",
                "textangle": -90 if upright else 0,
                "text": plain(history.history[start].phase or ""),
                "showarrow": False,
                "font": {"color": MUTED, "size": 12},
            }
        )
    return shapes, names
