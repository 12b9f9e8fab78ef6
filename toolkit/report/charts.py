"""What every chart shares: a chart is the JSON Plotly draws, with CSS expressions where colours go.

Colours stay names (`var(--ink)`) until report.js resolves them in the browser, so that one page serves light, dark and
paper, and report.css is the only place that knows a colour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.report.palette import GRID, INK, Style

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        name: the id of its element.
        data: Plotly's traces.
        layout: Plotly's layout.
        labels: texts that report.js puts beside points where they cover nothing: `{"x", "y", "text"}`.
        narrow: what a phone's screen changes in the layout; there, traces that say `meta: "wide"` are left out.
        keys: the exits its legend names; the legend is HTML, so it wraps like text on a narrow screen.
    """

    name: str
    data: list[Trace]
    layout: dict[str, Any]
    labels: list[dict[str, Any]] = field(default_factory=list)
    narrow: dict[str, Any] = field(default_factory=dict)
    keys: list[Style] = field(default_factory=list)

    @property
    def height(self) -> int:
        """Height in CSS pixels."""
        return int(self.layout["height"])

    def spec(self) -> dict[str, Any]:
        """What report.js reads."""
        return {"data": self.data, "layout": self.layout, "labels": self.labels, "narrow": self.narrow}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title, thin grid lines and no zero line."""
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": "var(--line)",
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "var(--line)",
        "zeroline": False,
    } | more


def layout(height: int, **more: Any) -> dict[str, Any]:
    """A transparent chart without a legend of its own."""
    return {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 13},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "var(--surface)",
            "bordercolor": "var(--line)",
            "font": {"color": INK, "size": 13},
            "align": "left",
        },
        "uirevision": "keep",
    } | more
